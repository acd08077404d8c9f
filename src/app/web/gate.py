"""The outermost ASGI layer: request ids, security headers and one log line for every request."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

__all__ = ["Gate", "request_id"]

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CSP = b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
_HEADERS = (
    (b"content-security-policy", _CSP),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    # A page is somebody's own unless its view says otherwise.
    (b"cache-control", b"private, no-store"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_QUIET = frozenset({"/healthz", "/readyz"})

logger = structlog.get_logger("app.access")


def request_id() -> str | None:
    """The id of the current request, as its log lines and its ``X-Request-ID`` say it."""
    found: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return found


def _id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    given = next((value for name, value in headers if name == b"x-request-id"), b"")
    return given.decode() if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


class Gate:
    """Wraps ``app.asgi_app``.

    ``X-Request-ID`` is taken over when it is 1–64 letters, digits, ``.``, ``_`` or ``-``, else made up, and sent
    back. The headers of :data:`_HEADERS` are added where the response has none of the name.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        identity = _id_of(scope["headers"])
        others = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
        scope = {**scope, "headers": [*others, (b"x-request-id", identity.encode())]}  # jobs are told of it
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=identity)
        added = [*_HEADERS, (b"x-request-id", identity.encode())]
        if scope.get("scheme") in ("https", "wss"):
            added.append(_HSTS)
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                headers = list(message.get("headers", ()))
                present = {bytes(name).lower() for name, _ in headers}
                headers += [(name, value) for name, value in added if name not in present]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            if scope["type"] == "http" and not (scope["path"] in _QUIET and status == 200):
                logger.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status or None,  # None: the client went away before an answer
                    ms=round((time.perf_counter() - started) * 1000, 1),
                )
