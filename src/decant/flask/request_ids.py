"""One id per request, for both halves of a mounted application, their log and the client.

``X-Request-ID`` is taken over where it is 1–64 letters, digits, ``.``, ``_`` or ``-``, else made up; both halves find
it in their request's headers and by :func:`request_id`, and the answer has it.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final

__all__ = ["HEADER", "RequestIdFilter", "identified", "request_id"]

HEADER: Final = b"x-request-id"
_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
current: Final[ContextVar[str | None]] = ContextVar("decant_request_id", default=None)


def request_id() -> str | None:
    """The id of the request that is answered here, by Quart or by Flask; ``None`` outside of one."""
    return current.get()


def identified(scope: MutableMapping[str, Any]) -> tuple[MutableMapping[str, Any], str]:
    """The scope with a sane id in its headers, and the id."""
    given = [value for name, value in scope["headers"] if name == HEADER]
    if len(given) == 1 and _SANE.fullmatch(given[0]):
        return scope, given[0].decode()
    identity = given[0].decode() if given and _SANE.fullmatch(given[0]) else uuid.uuid4().hex
    others = [(name, value) for name, value in scope["headers"] if name != HEADER]
    return {**scope, "headers": [*others, (HEADER, identity.encode())]}, identity


class RequestIdFilter(logging.Filter):
    """Gives each record that has none, as a job's has, a ``request_id``, ``"-"`` outside of a request:
    ``handler.addFilter(RequestIdFilter())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        if not hasattr(record, "request_id"):
            record.request_id = current.get() or "-"
        return True
