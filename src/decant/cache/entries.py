"""What is stored besides plain values: responses, HTTP errors, and values that carry dates or tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wrappers import Response as WerkzeugResponse

__all__ = ["Entry", "StoredError", "StoredResponse", "can_store_error"]

_ATTRIBUTES = ("retry_after", "valid_methods", "length", "units")


@dataclass(slots=True)
class StoredResponse:
    """A response as it is stored: of no framework. Pickled, it is a Werkzeug response, which Flask-Caching reads."""

    body: bytes
    status: int
    headers: list[tuple[str, str]]

    def __reduce__(self) -> Any:
        return WerkzeugResponse, (self.body, self.status, self.headers)


@dataclass(slots=True)
class StoredError:
    """One of Werkzeug's HTTP errors, which a view raised; raised again on a hit. Pickled, it is the error itself."""

    code: int
    description: str | None
    attributes: dict[str, Any]

    @classmethod
    def of(cls, error: HTTPException) -> StoredError:
        found = {name: getattr(error, name, None) for name in _ATTRIBUTES}
        attributes = {name: value for name, value in found.items() if isinstance(value, int | str | list | tuple)}
        return cls(error.code or 0, vars(error).get("description"), attributes)

    def error(self) -> HTTPException:
        made = default_exceptions[self.code](description=self.description)
        vars(made).update(self.attributes)
        return made

    def __reduce__(self) -> Any:
        return _error, (self.code, self.description, self.attributes)


def _error(code: int, description: str | None, attributes: dict[str, Any]) -> HTTPException:
    return StoredError(code, description, attributes).error()


def can_store_error(error: HTTPException) -> bool:
    """Whether it is exactly one of Werkzeug's own, without a response that a user made."""
    return error.response is None and default_exceptions.get(error.code or 0) is type(error)


@dataclass(slots=True)
class Entry:
    """A value with what decides whether it may still be used.

    :ivar stored_at: seconds since the epoch.
    :ivar fresh_s: how long from then it is fresh, in seconds; 0 for ever.
    :ivar tags: the version of each tag when the computation began.
    """

    value: Any
    stored_at: float
    fresh_s: float
    tags: Mapping[str, str | None] = field(default_factory=dict)

    def left_s(self, now: float) -> float:
        """For how long it is still fresh; negative if it is not, infinite if it always is."""
        return self.stored_at + self.fresh_s - now if self.fresh_s else float("inf")
