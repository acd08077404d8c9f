"""WebSockets of unmodified extensions (Flask-SocketIO in threads, Flask-Sock): they are given a socket of their own."""

from __future__ import annotations

from typing import Any

from ..bridge import Threads

__all__ = ["Sockets"]


class Sockets:
    """The WebSockets of one application."""

    def __init__(self, app: Any, size: int, grace_s: float) -> None:
        self.app, self.grace_s = app, grace_s
        self.threads = Threads(size, max_queued=0, grace_s=grace_s)

    async def serve(self, scope: Any, receive: Any, send: Any, asgi: Any) -> None:
        """Refuse it."""
        await receive()
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
