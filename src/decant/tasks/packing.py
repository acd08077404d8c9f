"""Values as msgpack, with what JSON has not: times, UUIDs, decimals, sets, tuples. Reading never runs code."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from .errors import InvalidTaskError

__all__ = ["decode", "encode"]

_PLAIN: Final = frozenset({str, bytes, float, bool, type(None)})
_BASES: Final[tuple[Any, ...]] = (dict, list, tuple, set, frozenset, bytes)
_INT64: Final = (-(1 << 63), (1 << 64) - 1)
_encoder: Final = msgspec.msgpack.Encoder()


def encode(value: Any) -> bytes:
    """Bytes for a value made of None, bool, int, float, str, bytes, list, dict, tuple, set, frozenset, datetime, date,
    time, timedelta, UUID, Decimal and complex.

    Objects of classes derived from these come back as their base: a named tuple as a tuple, a signature as a dict.

    :raises TypeError: for anything else; names the type and where it is, as in ``[1]['owner']``.
    """
    try:
        return _encoder.encode(_prepared(value))
    except _Foreign:
        where, found = _search(value, "", 0) or ("", value)
    except UnicodeEncodeError as error:  # a lone surrogate
        raise TypeError(f"a text cannot be encoded as UTF-8: {error}") from error
    except RecursionError:
        raise TypeError("the value is nested too deeply, or contains itself") from None
    raise TypeError(_refusal(where, found))


def decode(data: bytes | memoryview) -> Any:
    """The value again.

    :raises InvalidTaskError: if the bytes are none of :func:`encode`'s.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError, OSError) as error:
        raise InvalidTaskError(f"a stored value cannot be read: {error}") from error


class _Foreign(Exception):
    """A type that has no encoding."""


def _prepared(value: Any) -> Any:
    """The value in msgpack's own types and extensions: msgspec alone would make a list of a tuple."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int and _INT64[0] <= value <= _INT64[1]:
        return value
    if kind is dict:
        return _prepared_dict(value)
    if kind is list:
        return [_prepared(item) for item in value]
    known = _ENCODERS.get(kind)
    if known is None:
        return _prepared_heir(value)
    code, fields = known
    return msgspec.msgpack.Ext(code, _encoder.encode(_prepared(fields(value))))


def _prepared_dict(value: dict[Any, Any]) -> Any:
    if all(type(key) is str for key in value):
        return {key: _prepared(item) for key, item in value.items()}
    pairs = [[_prepared(key), _prepared(item)] for key, item in value.items()]
    return msgspec.msgpack.Ext(_PAIRS, _encoder.encode(pairs))


def _prepared_heir(value: Any) -> Any:
    base = _base(value)
    if base is not None:
        return _prepared(base)
    kind = _known_kind(value)
    if kind is None:
        raise _Foreign
    code, fields = _ENCODERS[kind]
    return msgspec.msgpack.Ext(code, _encoder.encode(_prepared(fields(value))))


def _known_kind(value: Any) -> type | None:
    """The type with an encoding that its class is derived from: asyncpg's UUIDs are of a class of their own."""
    return None if isinstance(value, Enum) else next((kind for kind in _ENCODERS if isinstance(value, kind)), None)


def _base(value: Any) -> Any:
    """What it is without its own class; ``None`` if it is nothing that can be encoded."""
    if isinstance(value, Enum):
        return None
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    return next((kind(value) for kind in _BASES if isinstance(value, kind)), None)


def _zone(value: dt.datetime) -> list[Any]:
    key = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return [value.isoformat(), key, value.fold]


def _datetime(fields: list[Any]) -> dt.datetime:
    text, zone, fold = fields
    made = dt.datetime.fromisoformat(text)
    if zone is not None:
        made = made.replace(tzinfo=ZoneInfo(zone))
    return made.replace(fold=fold)


def _time(value: dt.time) -> list[Any]:
    return [value.isoformat(), value.fold]


_PAIRS: Final = 1
_KINDS: Final[list[tuple[int, type, Callable[[Any], Any], Callable[[Any], Any]]]] = [
    # (its number in stored values, never reused; the type; what it is made of; and made of that)
    (2, tuple, list, tuple),
    (3, set, list, set),
    (4, frozenset, list, frozenset),
    (5, dt.datetime, _zone, _datetime),
    (6, dt.date, dt.date.isoformat, dt.date.fromisoformat),
    (7, dt.time, _time, lambda f: dt.time.fromisoformat(f[0]).replace(fold=f[1])),
    (8, dt.timedelta, lambda d: [d.days, d.seconds, d.microseconds], lambda f: dt.timedelta(*f)),
    (9, UUID, lambda u: u.bytes, lambda b: UUID(bytes=b)),
    (10, Decimal, str, Decimal),
    (11, int, hex, lambda text: int(text, 16)),
    (12, complex, lambda c: [c.real, c.imag], lambda f: complex(*f)),
    (13, bytearray, bytes, bytearray),
]
_ENCODERS: Final = {kind: (code, fields) for code, kind, fields, _ in _KINDS}
_DECODERS: Final = {code: make for code, _, _, make in _KINDS} | {_PAIRS: dict}


def _extension(code: int, data: memoryview) -> Any:
    return _DECODERS[code](_decoder.decode(data))


_decoder: Final = msgspec.msgpack.Decoder(ext_hook=_extension)


# -- what to say when it fails -------------------------------------------------------------------------------------

_DEEP: Final = 100
_ALONE: Final = " (in a union the only one of its kind)"


def _search(value: Any, where: str, depth: int) -> tuple[str, Any] | None:
    """Where the first value is that cannot be encoded, and the value."""
    if isinstance(value, dict):
        inside = [(f"{where}[{key!r}]", item) for pair in value.items() for key, item in ((pair[0], pair[0]), pair)]
    elif isinstance(value, list | tuple):
        inside = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
    elif isinstance(value, set | frozenset):
        inside = [(f"{where}{{…}}", item) for item in value]
    elif type(value) in _PLAIN or _base(value) is not None or _known_kind(value) is not None:
        return None
    else:
        return where, value
    if depth == _DEEP:
        return None
    found = (_search(item, place, depth + 1) for place, item in inside)
    return next((one for one in found if one is not None), None)


def _refusal(where: str, value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, Enum):
        more = f"annotate the task's parameter with the enumeration{_ALONE}, or pass its value"
    elif hasattr(kind, "__dataclass_fields__"):
        more = f"annotate the task's parameter with the dataclass{_ALONE}, or pass what it is made of"
    elif hasattr(kind, "__table__") or hasattr(kind, "__mapper__"):
        more = "pass the row's id, and load it in the task"
    else:
        more = (
            "pass what it is made of: None, bool, int, float, str, bytes, list, dict, tuple, set, datetime, date, time,"
            " timedelta, UUID, Decimal; or, where the task's annotations name it, an Enum or a dataclass"
        )
    return f"a {name}{f' at {where}' if where else ''} cannot be handed to a worker: {more}"
