"""msgpack for jobs and their results: whoever can write to Redis must not be able to run code here.

A ``datetime`` with a zone comes back as one. What msgpack lacks comes back as text (``date``, naive ``datetime``,
``UUID``, ``Decimal``), as a list (tuples, sets) or, for what a job raised, as ``{"type", "message", "traceback"}``.
Nothing is imported by name when it is read.
"""

from __future__ import annotations

import traceback
from typing import Any

import msgspec

__all__ = ["decode", "encode"]


def _carry(value: object) -> object:
    if isinstance(value, BaseException):
        return {
            "type": type(value).__name__,
            "message": str(value),
            "traceback": "".join(traceback.format_exception(value)),
        }
    raise NotImplementedError(f"a job's arguments and results cannot have a {type(value).__name__}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_carry)
_decoder: msgspec.msgpack.Decoder[dict[str, Any]] = msgspec.msgpack.Decoder(dict[str, Any])


def encode(job: dict[str, Any]) -> bytes:
    """arq's ``job_serializer``."""
    return _encoder.encode(job)


def decode(data: bytes) -> dict[str, Any]:
    """arq's ``job_deserializer``."""
    return _decoder.decode(data)
