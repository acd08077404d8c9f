"""How values become bytes: msgpack, which runs no code; or pickle, as Flask-Caching writes it.

Both write an ``int`` as decimal text, so that ``inc`` and ``dec`` are the server's own atomic commands.
"""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Protocol, runtime_checkable
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from markupsafe import Markup

from ..errors import ConfigError
from ..warn import warn
from .entries import Entry, StoredError, StoredResponse

__all__ = ["MsgpackSerializer", "PickleSerializer", "Serializer", "Unreadable", "serializer_from"]


class Unreadable(ValueError):
    """Bytes in the cache that this serializer did not write: taken for a miss, and logged."""


@runtime_checkable
class Serializer(Protocol):
    """What ``CACHE_SERIALIZER`` may be; cachelib's serializers are."""

    def dumps(self, value: Any) -> bytes | None: ...
    def loads(self, data: bytes, /) -> Any: ...


_PLAIN: Final = frozenset({str, bytes, float, bool, type(None)})
_INT64: Final = (-(1 << 63), (1 << 64) - 1)
_MARK: Final = b"m"
_encoder: Final = msgspec.msgpack.Encoder()


def _encode(value: Any) -> bytes:
    return _encoder.encode(_prepared(value))


def _prepared(value: Any) -> Any:
    """The value in msgpack's own types and extensions: msgspec alone would make a list of a tuple."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_prepared(item) for item in value]
    if kind is dict:
        return _prepared_dict(value)
    if kind is int and _INT64[0] <= value <= _INT64[1]:
        return value
    known = _ENCODERS.get(kind)
    if known is None:
        raise TypeError(
            f"a value of type {kind.__module__}.{kind.__qualname__} cannot be cached: cache what it is made of (str,"
            " int, float, bool, None, bytes, list, dict, tuple, set, datetime, UUID, Decimal, Markup, responses),"
            " or set CACHE_SERIALIZER"
        )
    code, fields = known
    return msgspec.msgpack.Ext(code, _encode(fields(value)))


def _prepared_dict(value: dict[Any, Any]) -> Any:
    if all(type(key) is str for key in value):
        return {key: _prepared(item) for key, item in value.items()}
    pairs = [[_prepared(key), _prepared(item)] for key, item in value.items()]
    return msgspec.msgpack.Ext(_PAIRS, _encoder.encode(pairs))


def _zone(value: dt.datetime) -> list[Any]:
    key = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return [value.isoformat(), key, value.fold]


def _datetime(fields: list[Any]) -> dt.datetime:
    text, zone, fold = fields
    made = dt.datetime.fromisoformat(text)
    if zone is not None:
        made = made.replace(tzinfo=ZoneInfo(zone))
    return made.replace(fold=fold)


_PAIRS: Final = 1
_KINDS: Final[list[tuple[int, type, Callable[[Any], Any], Callable[[Any], Any]]]] = [
    # (its number in stored values, never reused; the type; what it is made of; and made of that)
    (2, tuple, list, tuple),
    (3, set, list, set),
    (4, frozenset, list, frozenset),
    (5, dt.datetime, _zone, _datetime),
    (6, dt.date, dt.date.isoformat, dt.date.fromisoformat),
    (7, dt.time, dt.time.isoformat, dt.time.fromisoformat),
    (8, dt.timedelta, lambda d: [d.days, d.seconds, d.microseconds], lambda f: dt.timedelta(*f)),
    (9, UUID, lambda u: u.bytes, lambda b: UUID(bytes=b)),
    (10, Decimal, str, Decimal),
    (11, int, str, int),
    (12, Markup, str, Markup),
    (13, StoredResponse, lambda r: [r.body, r.status, r.headers], lambda f: StoredResponse(f[0], f[1], f[2])),
    (14, StoredError, lambda e: [e.code, e.description, e.attributes], lambda f: StoredError(*f)),
    (15, Entry, lambda e: [e.value, e.stored_at, e.fresh_s, dict(e.tags)], lambda f: Entry(*f)),
]
_ENCODERS: Final = {kind: (code, fields) for code, kind, fields, _ in _KINDS}
_DECODERS: Final = {code: make for code, _, _, make in _KINDS} | {_PAIRS: dict}


def _decoded(code: int, data: memoryview) -> Any:
    return _DECODERS[code](_decoder.decode(data))


_decoder: Final = msgspec.msgpack.Decoder(ext_hook=_decoded)


class MsgpackSerializer:
    """The default. Reading runs no code, whoever has written.

    A value comes back equal and of the same type, or ``dumps`` raises ``TypeError`` and names the type.
    """

    def dumps(self, value: Any) -> bytes:
        """:raises TypeError: for a type that would not come back as it is."""
        if type(value) is int:
            return b"%d" % value
        return _MARK + _encode(value)

    def loads(self, data: bytes) -> Any:
        """:raises Unreadable: if the bytes are not this serializer's."""
        try:
            return _decoder.decode(memoryview(data)[1:]) if data[:1] == _MARK else int(data)
        except Exception as error:
            hint = " (Flask-Caching's: read them with CACHE_SERIALIZER='pickle')" if data[:1] == b"!" else ""
            raise Unreadable(f"{len(data)} bytes are not what MsgpackSerializer writes{hint}: {error}") from error


class PickleSerializer:
    """What Flask-Caching writes to Redis and reads from it, so that a Flask half and a Quart half share one cache.

    Whoever can write to the cache's server can run code in every process that reads from it.
    """

    def dumps(self, value: Any) -> bytes:
        if type(value) is int:
            return b"%d" % value
        return b"!" + pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def loads(self, data: bytes) -> Any:
        """:raises Unreadable: if a pickle cannot be read."""
        if data[:1] == b"!":
            try:
                return pickle.loads(data[1:])  # noqa: S301
            except Exception as error:
                raise Unreadable(f"a pickle of {len(data)} bytes cannot be read: {error}") from error
        try:
            return int(data)
        except ValueError:
            return data


def serializer_from(value: Any) -> Serializer:
    """What ``CACHE_SERIALIZER`` means: ``None`` or ``"msgpack"``, ``"pickle"``, a class or an instance.

    :raises ConfigError: if it is none of these.
    """
    if value in (None, "msgpack"):
        return MsgpackSerializer()
    if value == "pickle":
        value = PickleSerializer
    made = value
    if isinstance(value, type):
        try:
            made = value()
        except TypeError as error:
            raise ConfigError("CACHE_SERIALIZER", value, f"Couldn't instantiate serializer: {error}") from error
    if not isinstance(made, Serializer):
        raise ConfigError(
            "CACHE_SERIALIZER", value, "'msgpack', 'pickle', or a class or instance with dumps and loads is allowed"
        )
    if isinstance(made, PickleSerializer):
        warn("CACHE_SERIALIZER is pickle: whoever can write to the cache's server can run code in this process")
    return made
