"""python-engineio's server with bounds: what waits for a client, who runs its tasks, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import engineio
from engineio.async_socket import AsyncSocket
from engineio.exceptions import EngineIOError, SocketIsClosedError
from engineio.packet import packet_names

from ..bridge import detached
from ..ops.registry import counter
from .options import Options

__all__ = ["Buffer", "Engine", "end"]

logger = logging.getLogger("decant.socketio")
_SLOW: Final = counter("decant_socketio_slow_clients", "Clients that were disconnected because they did not read")
_PATIENCE_S: Final = 0.1
_ATTEMPTS: Final = 10


def _size(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


class Buffer(asyncio.Queue[Any]):
    """What waits for one client, and how many bytes that are."""

    size_bytes = 0

    def _put(self, item: Any) -> None:  # asyncio.Queue has these two to be overridden
        self.size_bytes += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.size_bytes -= _size(item)
        return item

    def drop(self) -> None:
        """Forget what waits, and tell the writer to end."""
        while not self.empty():
            self.get_nowait()
            self.task_done()
        self.put_nowait(None)


async def end(task: asyncio.Task[Any]) -> bool:
    """Cancel a task until it has ended; whether it has. Those of python-engineio take several cancellations."""
    for _ in range(_ATTEMPTS):
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=_PATIENCE_S)
        if done:
            return True
    return False


class Connection(AsyncSocket):  # type: ignore[misc]
    """python-engineio's socket, which ends where the client sends what is no Engine.IO packet."""

    async def receive(self, pkt: Any) -> None:
        """As python-engineio's, which knows no exception for a packet of a kind that there is not."""
        if not 0 <= pkt.packet_type < len(packet_names):
            logger.warning("%s sent a packet of the unknown type %s", self.sid, pkt.packet_type)
            raise SocketIsClosedError
        await super().receive(pkt)

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """As python-engineio's; what cannot be decoded is answered by 400."""
        try:
            await super().handle_post_request(environ)
        except EngineIOError:
            raise
        except Exception as error:
            self._say(error)
            raise SocketIsClosedError from error

    async def _websocket_handler(self, ws: Any) -> None:
        try:
            await super()._websocket_handler(ws)
        except Exception as error:
            self._say(error)
            await self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_ERROR)
            await self.queue.put(None)  # the writer ends
            await ws.close()

    def _say(self, error: Exception) -> None:
        logger.warning("%s sent what is no packet: %s: %s", self.sid, type(error).__name__, error)


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """An Engine.IO server that disconnects clients whose buffer is full, and owns its tasks."""

    options: Options
    """Set by who makes it, before the first client comes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sockets: dict[str, Any]
        self.tasks: set[asyncio.Task[Any]] = set()
        self.connections: dict[str, asyncio.Task[Any]] = {}  # Engine.IO's sid -> the ASGI task of its WebSocket

    def create_queue(self, *args: Any, **kwargs: Any) -> Buffer:
        return Buffer()

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """As python-engineio's; the task is kept."""
        task = asyncio.get_running_loop().create_task(target(*args, **kwargs), context=detached())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        """As python-engineio's; a poll or a writer that waits is told that its client has gone."""
        if event == "connect":
            self.sockets[args[0]].__class__ = Connection  # python-engineio does not ask which class it shall be
        socket = self.sockets.get(args[0]) if event == "disconnect" else None
        result = await super()._trigger_event(event, *args, **options)
        if socket is not None:
            asyncio.get_running_loop().call_soon(socket.queue.put_nowait, None)  # after the packet that says so
        return result

    async def send_packet(self, sid: str, pkt: Any) -> None:
        """As python-engineio's, but never raises: a client that is gone, or is being disconnected, gets nothing."""
        socket = self.sockets.get(sid)
        if socket is None or socket.closed or socket.closing:
            return
        buffer: Buffer = socket.queue
        if buffer.qsize() >= self.options.max_buffer or buffer.size_bytes >= self.options.max_buffer_bytes:
            self._cut(sid, socket)
            return
        try:
            await socket.send(pkt)
        except SocketIsClosedError:
            return

    async def disconnect(self, sid: str | None = None) -> None:
        """As python-engineio's, but does not wait until the client has read what was sent to it: it may never."""
        for each in [sid] if sid is not None else list(self.sockets):
            socket = self.sockets.get(each)
            if socket is not None:
                await socket.close(wait=False, reason=self.reason.SERVER_DISCONNECT)
                self.sockets.pop(each, None)

    def _cut(self, sid: str, socket: Any) -> None:
        _SLOW.inc()
        logger.warning(
            "%s does not read: %s packets (%s bytes) wait for it, so it is disconnected",
            *(sid, socket.queue.qsize(), socket.queue.size_bytes),
        )
        socket.queue.drop()
        self.sockets.pop(sid, None)
        self.start_background_task(self._close, sid, socket)

    async def _close(self, sid: str, socket: Any) -> None:
        await socket.close(wait=False, abort=True, reason=self.reason.TRANSPORT_ERROR)
        task = self.connections.get(sid)
        if task is not None:
            await end(task)

    async def leave(self, timeout_s: float) -> None:
        """Tell all clients that the server goes, and wait until they have gone; end those that have not in time.

        Their ``disconnect`` handlers have half of that time; a client whose handler was cancelled is told as well.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        goodbyes = {self.start_background_task(self._say_goodbye, socket) for socket in list(self.sockets.values())}
        if goodbyes:
            _, late = await asyncio.wait(goodbyes, timeout=timeout_s / 2)
            if late:
                logger.warning("%s disconnect handlers were cancelled after %.1f s", len(late), timeout_s / 2)
            await asyncio.gather(*map(end, late))
        open_ = set(self.connections.values())
        if open_:
            _, late = await asyncio.wait(open_, timeout=max(0.1, deadline - asyncio.get_running_loop().time()))
            await asyncio.gather(*map(end, late))
        await self._end_tasks()

    async def _say_goodbye(self, socket: Any) -> None:
        await socket.close(wait=False, abort=False, reason=self.reason.SERVER_DISCONNECT)

    async def _end_tasks(self) -> None:
        if self.service_task_event is not None and self.service_task_handle is not None:
            await self.shutdown()
            self.start_service_task = True  # where it is served again
        tasks = self.tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE_S)
