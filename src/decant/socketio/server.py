"""python-socketio's server: which handler an event has, how many of a client's run, and what is no event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import socketio

from .engine import Engine
from .options import Options

__all__ = ["FAILURES", "NOT_HANDLED", "Server", "report"]

logger = logging.getLogger("decant.socketio")
NOT_HANDLED: Final = object()
FAILURES: Final = "decant.failures"
"""In the environ of a test client: a list of the exceptions that it shall raise."""
_RESERVED: Final = ("connect", "disconnect")
_MAX_ATTACHMENTS: Final = 100


def report(environ: dict[str, Any], error: BaseException, text: str) -> None:
    """Log an exception, unless it is a test client's to raise."""
    if FAILURES in environ:
        environ[FAILURES].append(error)
    else:
        logger.error(text, exc_info=error)


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """python-socketio's ``AsyncServer``, whose events go to ``dispatch``.

    Clients that send what is no Socket.IO packet, or name an event ``connect`` or ``disconnect``, are disconnected.
    """

    eio: Engine

    def __init__(self, options: Options, dispatch: Callable[..., Awaitable[Any]], **engine: Any) -> None:
        super().__init__(**engine)
        self.options = self.eio.options = options
        self.dispatch = dispatch
        self.not_handled = NOT_HANDLED
        self.working: dict[str, set[asyncio.Task[Any]]] = {}  # Engine.IO's sid -> the handlers that run
        self.stopping = False

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    @property
    def clients(self) -> int:
        """How many clients are connected, or about to be."""
        return len(self.environ)

    async def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        return await self.dispatch(self, event, namespace, *args)

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        task = asyncio.current_task()
        if environ["asgi.scope"]["type"] == "websocket" and task is not None:
            self.eio.connections[eio_sid] = task

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self.working.pop(eio_sid, None)
        self._binary_packet.pop(eio_sid, None)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        try:
            await super()._handle_eio_message(eio_sid, data)
            waiting = self._binary_packet.get(eio_sid)
            if waiting is not None and waiting.attachment_count > _MAX_ATTACHMENTS:
                raise ValueError(f"a packet of {waiting.attachment_count} attachments")
        except Exception as error:  # handlers' own are answered where they are called
            logger.warning("%s sent what is no event: %s: %s", eio_sid, type(error).__name__, error)
            await self.eio.disconnect(eio_sid)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        namespace = namespace or "/"
        if not isinstance(data, list) or not data or not isinstance(data[0], str) or data[0] in _RESERVED:
            raise ValueError(f"{data!r:.80} names no event")
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is None or not self.manager.is_connected(sid, namespace):
            return
        work = self._handle_event_internal(self, sid, eio_sid, data, namespace, id)
        if not self.async_handlers:
            await work
            return
        running = self.working.setdefault(eio_sid, set())
        task = self.eio.start_background_task(lambda: work)
        running.add(task)
        task.add_done_callback(running.discard)
        if len(running) >= self.options.max_events:  # the client is not read before one of them has ended
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

    async def _handle_event_internal(
        self,
        server: Any,
        sid: str,
        eio_sid: str,
        data: list[Any],
        namespace: str,
        id: int | None,  # noqa: A002
    ) -> None:
        try:
            await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id)
        except Exception as error:  # the handler's own are not raised; JSON does not know what it returned
            text = f"What the handler of {data[0]!r} in {namespace!r} answers cannot be sent"
            report(self.environ.get(eio_sid, {}), error, text)

    async def quiet(self, timeout_s: float) -> None:
        """Wait until no handler runs; cancel those that still do after ``timeout_s``."""
        running = {task for tasks in self.working.values() for task in tasks}
        if running:
            _, late = await asyncio.wait(running, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                logger.warning("%s event handlers were cancelled after %s s", len(late), timeout_s)
