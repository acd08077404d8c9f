"""What a job carries, as bytes: its call, its result, its error."""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any, Final

from . import errors
from .annotations import adapt, to_plain
from .errors import InvalidTaskError, PayloadTooLarge, RemoteError, RemoteTraceback
from .packing import decode, encode

__all__ = [
    "Envelope",
    "ErrorInfo",
    "adapt",
    "decode",
    "decode_arq",
    "decode_envelope",
    "decode_error",
    "encode",
    "encode_arq",
    "encode_envelope",
    "encode_error",
    "is_secret",
    "summarize",
    "to_plain",
]


@dataclass(slots=True)
class Envelope:
    """One call. Signatures are plain dictionaries, with Celery's keys.

    ``link`` is called with the result, ``link_error`` with the id of the job when it fails. ``chain`` is what comes
    after this, the next one first. ``options`` are those of the call that the worker needs (``time_limit``,
    ``soft_time_limit``, ``ignore_result``, ``shadow``, …), ``headers`` the user's own.
    """

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    link: list[dict[str, Any]] = field(default_factory=list)
    link_error: list[dict[str, Any]] = field(default_factory=list)
    chain: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)


_VERSION: Final = 1


def encode_envelope(envelope: Envelope, *, limit_bytes: int) -> bytes:
    """The payload of a job.

    :raises TypeError: for arguments that cannot be encoded, as :func:`encode`; says which argument.
    :raises PayloadTooLarge: if it is larger than ``limit_bytes``.
    """
    e = envelope
    try:
        data = encode([_VERSION, list(e.args), e.kwargs, e.link, e.link_error, e.chain, e.options, e.headers])
    except TypeError:
        _say_where(args=list(e.args), kwargs=e.kwargs, headers=e.headers)
        raise
    if len(data) > limit_bytes:
        raise PayloadTooLarge(
            f"the arguments of the task take {len(data):,} bytes, more than the {limit_bytes:,} that"
            " TASKS_MAX_ARGUMENTS_KB allows: store what is large (a row, a file, an object in a bucket) and pass its id"
            " or path, for the task to load"
        )
    return data


def _say_where(**parts: Any) -> None:
    for name, value in parts.items():
        try:
            encode(value)
        except TypeError as error:
            raise TypeError(str(error).replace(" at [", f" at {name}[", 1)) from None


def decode_envelope(data: bytes) -> Envelope:
    """The call again.

    :raises InvalidTaskError: if the bytes are none of :func:`encode_envelope`'s.
    """
    fields = decode(data)
    if not isinstance(fields, list) or len(fields) != 8 or fields[0] != _VERSION:
        raise InvalidTaskError("a stored call cannot be read: it is of another version, or not a call")
    return Envelope(*fields[1:])


# -- errors --------------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class ErrorInfo:
    """How a job failed. ``type`` is the dotted name of the class; ``exception`` is what ``get()`` raises."""

    type: str
    message: str
    traceback: str
    exception: BaseException


_TRACEBACK_LIMIT: Final = 32_000
_MESSAGE_LIMIT: Final = 8_000


def _name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def _text(make: Any, otherwise: str) -> str:
    """A text made by a user's class, which may fail."""
    try:
        return str(make()).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return otherwise


def encode_error(exc: BaseException) -> bytes:
    """An exception by value: its class's name, its text, its traceback, and its arguments if they can be encoded."""
    if isinstance(exc, RemoteError):
        name, message, trace = exc.type, exc.message, exc.traceback
    else:
        name, message = _name(type(exc)), _text(lambda: exc, f"<{type(exc).__name__}, whose str() failed>")
        trace = _text(lambda: "".join(traceback.format_exception(exc)), "")
    try:
        args: Any = list(exc.args)
        if len(encode(args)) > _MESSAGE_LIMIT:
            args = None
    except TypeError:
        args = None
    return encode(
        {
            "type": name,
            "message": _cut(message, _MESSAGE_LIMIT),
            "traceback": _cut(trace, _TRACEBACK_LIMIT),
            "args": args,
        }
    )


_REAL: Final[dict[str, type[BaseException]]] = {
    _name(kind): kind
    for module in (builtins, errors)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not RemoteError
}


def decode_error(data: bytes, known: Iterable[type[BaseException]] = ()) -> ErrorInfo:
    """How a job failed. Classes that are built in, ours, or in ``known`` become real; no name is ever imported."""
    fields = decode(data)
    name, message, trace = fields["type"], fields["message"], fields["traceback"]
    kind = _REAL.get(name) or next((one for one in known if _name(one) == name), None)
    exception = _made(kind, fields["args"], message) or RemoteError(name, message, trace)
    if trace:
        exception.__cause__ = RemoteTraceback(trace)
    return ErrorInfo(name, message, trace, exception)


def _made(kind: type[BaseException] | None, args: list[Any] | None, message: str) -> BaseException | None:
    if kind is None:
        return None
    try:
        made = kind(*(args if args is not None else [message]))
        return made if str(made) == message or args is None else None
    except Exception:  # its constructor wants other arguments than it keeps
        return None


# -- for people ----------------------------------------------------------------------------------------------------

_SECRET: Final = ("password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "credential")


class _Short(Repr):
    """``reprlib``'s, without what is named like a secret, however deep it is."""

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """As ``Repr.repr_dict``."""
        if any(isinstance(key, str) and is_secret(key) for key in x):
            x = {key: "…" if isinstance(key, str) and is_secret(key) else item for key, item in x.items()}
        return super().repr_dict(x, level)


_short: Final = _Short()
_short.maxstring = _short.maxother = 60
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 4
_short.maxlevel = 3


def summarize(args: Iterable[Any], kwargs: dict[str, Any], limit: int = 200) -> str:
    """The arguments as text of at most ``limit`` characters; those named like secrets are not shown.

    >>> summarize([1, "a"], {"token": "x"})
    "1, 'a', token=…"
    """
    parts = [_repr(value) for value in args]
    parts += [f"{key}={'…' if is_secret(key) else _repr(value)}" for key, value in kwargs.items()]
    text = ", ".join(parts).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_secret(name: str) -> bool:
    """Whether an argument of this name is not to be shown."""
    return any(word in name.lower() for word in _SECRET)


def _repr(value: Any) -> str:
    return _text(lambda: _short.repr(value), f"<{type(value).__name__}>")


# -- arq's own records ---------------------------------------------------------------------------------------------


def encode_arq(job: dict[str, Any]) -> bytes:
    """arq's ``job_serializer``. arq keeps exceptions as results too; they are written by value."""
    result = job.get("r")
    if isinstance(result, BaseException):
        job = job | {"r": {"error": encode_error(result)}}
    return encode(job)


def decode_arq(data: bytes) -> dict[str, Any]:
    """arq's ``job_deserializer``."""
    job = decode(data)
    if not isinstance(job, dict):
        raise InvalidTaskError(f"not a record of arq's: {type(job).__name__}")
    if isinstance(job.get("r"), dict) and set(job["r"]) == {"error"}:
        job["r"] = decode_error(job["r"]["error"]).exception
    return job
