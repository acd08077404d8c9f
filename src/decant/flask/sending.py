"""From the application to the client: messages that a thread, or a greenlet on the loop, gives to be sent."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from ..bridge import wait
from .body import Body

__all__ = ["Sending"]

logger = logging.getLogger("decant.flask")
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
_BOUND: Final = 64 * 1024
_PAUSE_S: Final = 0.005
_LINGER_S: Final = 5.0


class Sending:
    """Sends one response's messages in order, and slows the application down to the client's pace.

    From a thread, up to 64 KiB are on their way before it waits: a hop from thread to loop and back for each small
    piece would cost more than the piece. On the loop, pieces that come within 5 ms go together, or when the application
    waits.

    The head is sent with what comes next.

    :param body: the request's, if it may have one: it is told when the answer begins, and when it ends.
    :param timeout_s: how long a client may take nothing; then it is as good as gone.
    """

    def __init__(self, send: Send, body: Body | None, timeout_s: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.complete = self.gone = False
        self._send, self._body, self._timeout_s = send, body, timeout_s
        self._messages: deque[Message] = deque()
        self._held, self._flushed = 0, 0.0
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._awake = False
        self._room: asyncio.Event | None = None

    def put(self, message: Message) -> None:
        """In the application: send it, now or soon.

        :raises ConnectionAbortedError: if the client has gone.
        """
        self.check()
        with self._lock:
            self._messages.append(message)
            self._held += len(message.get("body", b""))
        if message["type"] == "http.response.start":
            return
        if asyncio._get_running_loop() is None:
            self._wake(self.loop.call_soon_threadsafe)
            if self._held >= _BOUND:
                wait(self._until_room())
        elif not message["more_body"] or self._held >= _BOUND or self.loop.time() - self._flushed >= _PAUSE_S:
            wait(self._flush())
        else:
            self._wake(self.loop.call_soon)

    def _wake(self, call_soon: Callable[..., Any]) -> None:
        with self._lock:
            asleep, self._awake = not self._awake, True
        if asleep:
            call_soon(self._begin)

    async def _flush(self) -> None:
        """On the loop: send what there is, and let others run between pieces that come without a pause."""
        if self._awake:
            await self.ended()
        else:
            self._awake = True
            await self._deliver()
        if self.gone:
            raise ConnectionAbortedError("the client has gone")
        if self._flushed and not self.complete:
            await asyncio.sleep(0)
        self._flushed = self.loop.time()

    def check(self) -> None:
        """In the application: notice a client that has gone, where there is nothing to send.

        :raises ConnectionAbortedError: if it has.
        """
        if self.gone:
            wait(_nothing())  # raises CancelledError in a request that is cancelled
            raise ConnectionAbortedError("the client has gone")

    async def give(self, message: Message) -> None:
        """On the loop: send it now."""
        if self.gone:
            raise ConnectionAbortedError("the client has gone")
        if message["type"] == "http.response.start":
            if self._body is not None:
                self._body.answered()
        elif not message["more_body"]:
            if self._body is not None:
                await self._body.drain(_LINGER_S)
            self.complete = True
        try:
            if message.get("body"):
                async with asyncio.timeout(self._timeout_s):
                    await self._send(message)
            else:  # a head or an end alone fills no buffer, and a timer would cost as much as sending it
                await self._send(message)
        except Exception as error:
            self.gone = True
            if not isinstance(error, OSError):  # which TimeoutError is
                logger.error("The server refused %s", message["type"], exc_info=error)
            raise ConnectionAbortedError("the client takes nothing more") from error

    async def _until_room(self) -> None:
        self._room = asyncio.Event()
        while self._held >= _BOUND and not self.gone:
            self._room.clear()
            await self._room.wait()

    def _begin(self) -> None:
        self._task = self.loop.create_task(self._deliver())

    async def _deliver(self) -> None:
        try:
            while (message := self._next()) is not None:
                await self.give(message)
                self._held_less(len(message.get("body", b"")))
        except ConnectionAbortedError:
            self.stop()
        except asyncio.CancelledError:
            self.stop()
            raise

    def _next(self) -> Message | None:
        """The next message; several pieces of body that wait as one."""
        with self._lock:
            if not self._messages:
                self._awake = False
                return None
            message = self._messages.popleft()
            if message["type"] != "http.response.body" or not self._messages:
                return message
            parts = [message, *self._messages]
            self._messages.clear()
        body = b"".join(part["body"] for part in parts)
        return {"type": "http.response.body", "body": body, "more_body": parts[-1]["more_body"]}

    def _held_less(self, size: int) -> None:
        with self._lock:
            self._held -= size
        self._has_room()

    def _has_room(self) -> None:
        if self._room is not None:
            self._room.set()

    def stop(self) -> None:
        """The client has gone: nothing more is sent, and whoever sends is told."""
        self.gone = True
        with self._lock:
            self._messages.clear()
            self._held = 0
        self._has_room()

    async def ended(self) -> None:
        """Wait until everything that was put has been sent, or the client has gone."""
        while self._awake and not self.gone:
            if self._task is None or self._task.done():
                await asyncio.sleep(0)  # a thread has just asked for it
            else:
                await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Stop, also in the middle of a message that the client does not take."""
        self.stop()
        if self._task is not None:
            self._task.cancel()


async def _nothing() -> None:
    return None
