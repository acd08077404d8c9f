"""The clients and rooms of one process, and its listener to what the others emit."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from contextvars import Context
from itertools import islice
from typing import Any, Final

from redis.exceptions import RedisError
from socketio.async_manager import AsyncManager
from socketio.async_pubsub_manager import AsyncPubSubManager

from ..errors import DecantError, Unavailable
from ..redis import Redis
from .engine import end
from .outbox import SETTLE_S, Outbox

__all__ = ["Manager", "RedisManager"]

logger = logging.getLogger("decant.socketio")
_RETRY_S: Final = (0.1, 1.0)
_HOSTS: Final = 1_000
_MISSED_BEATS: Final = 3
_UNANSWERED: Final = 1_000
_ELSEWHERE: Final = 10_000


class _Deaf(Exception):
    """Nothing was heard for too long, not even our own heartbeat."""


async def _closed(pubsub: Any) -> None:
    """Close a subscription, whose connection may be gone, so that what went wrong before is what is raised."""
    try:
        await asyncio.shield(pubsub.aclose())
    except Exception as error:  # redis-py: KeyError, where the pool was closed meanwhile
        logger.debug("Closing a subscription failed: %r", error)


class _Forgetful:
    """Of the callbacks that a client owes an answer, the oldest is forgotten: it may never answer any."""

    callbacks: dict[Any, dict[int, Any]]

    def _generate_ack_id(self, sid: Any, callback: Any) -> int:
        number: int = super()._generate_ack_id(sid, callback)  # type: ignore[misc]
        pending = self.callbacks[sid]
        if len(pending) > _UNANSWERED + 1:  # the first is python-socketio's counter
            del pending[next(islice(pending, 1, None))]
        return number


class Manager(_Forgetful, AsyncManager):  # type: ignore[misc]
    """The clients and rooms of a process that knows no other."""


class RedisManager(_Forgetful, AsyncPubSubManager):  # type: ignore[misc]
    """python-socketio's manager over Redis' channels, which says the same on the wire, so that Flask-SocketIO's
    processes take part.

    What differs: messages are published in order and bounded in time (:class:`Outbox`), each with a number, so that
    one which is sent again because its fate was unknown is heard once; the listener sends itself a heartbeat and
    subscribes anew where it does not hear it.
    """

    def __init__(self, redis: Callable[[], Redis], outbox: Outbox, *, heartbeat_s: float, write_only: bool) -> None:
        super().__init__(channel=outbox.channel, write_only=write_only, logger=logger)
        self.redis, self.outbox, self.heartbeat_s = redis, outbox, heartbeat_s
        self.listener: asyncio.Task[None] | None = None
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._number = 0
        self._elsewhere: OrderedDict[Any, None] = OrderedDict()  # whose answers would come from other processes
        self._heard_at: float | None = None
        self._trouble = "it has not subscribed yet"

    def initialize(self) -> None:
        """As python-socketio's; starts the listener, unless it runs."""
        AsyncManager.initialize(self)
        if not self.write_only and (self.listener is None or self.listener.done()):
            self.listener = asyncio.get_running_loop().create_task(self._thread(), context=Context())

    async def close(self) -> None:
        """Stop to listen."""
        if self.listener is not None:
            await end(self.listener)

    async def check(self) -> None:
        """:raises Unavailable: if this process does not hear what others emit."""
        now = asyncio.get_running_loop().time()
        if self._heard_at is None:
            raise Unavailable(f"the listener on {self.channel!r} hears nothing: {self._trouble}")
        if now - self._heard_at > _MISSED_BEATS * self.heartbeat_s:
            raise Unavailable(f"the listener on {self.channel!r} has heard nothing for {now - self._heard_at:.1f} s")

    async def _handle_disconnect(self, message: dict[str, Any]) -> None:
        """In a task of its own: the listener does not wait for the users' ``disconnect`` handlers."""
        self.server.start_background_task(super()._handle_disconnect, message)

    async def _publish(self, data: dict[str, Any]) -> None:
        self._number += 1
        await self.outbox.send(self.json.dumps({**data, "decant": [self.host_id, self._number]}))

    async def _listen(self) -> AsyncIterator[dict[str, Any]]:
        """What others have published, for ever: each message once."""
        delay_s = _RETRY_S[0]
        while True:
            try:
                async for data in self._subscribed():
                    delay_s = _RETRY_S[0]
                    if data is not None:
                        yield data
            except (DecantError, RedisError, OSError, _Deaf) as error:
                if self._heard_at is not None:
                    logger.warning("The listener on %r was interrupted: %s", self.channel, error)
                self._heard_at, self._trouble = None, str(error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _RETRY_S[1])

    async def _subscribed(self) -> AsyncIterator[dict[str, Any] | None]:
        """The messages of one subscription, and ``None`` now and then; it ends by an exception."""
        loop, redis = asyncio.get_running_loop(), self.redis()
        own = f"{self.channel}:{self.host_id}"
        pubsub = redis.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(self.channel, own)
            subscribed_at = heard_at = loop.time()
            beat_at = 0.0
            while True:
                if loop.time() - beat_at >= self.heartbeat_s:
                    beat_at = loop.time()
                    with suppress(DecantError):  # the silence that follows says it
                        await redis.publish(own, b"beat")
                        ((_, count),) = await redis.pubsub_numsub(self.channel)
                        self.outbox.notice(count, all_are_back=beat_at - subscribed_at > SETTLE_S)
                asked_at = loop.time()  # what came while the loop stood still is there, and not read yet
                message = await pubsub.get_message(timeout=self.heartbeat_s)
                if message is not None and message["type"] == "message":
                    self._heard_at = heard_at = loop.time()
                    yield self._decoded(message)
                elif asked_at - heard_at > _MISSED_BEATS * self.heartbeat_s:
                    raise _Deaf(f"nothing was heard for {loop.time() - heard_at:.1f} s")
                else:
                    yield None
        finally:
            await _closed(pubsub)

    def _generate_ack_id(self, sid: Any, callback: Any) -> int:
        """As python-socketio's, which keeps what concerns clients of other processes for ever."""
        number = super()._generate_ack_id(sid, callback)
        if not self._is_here(sid):
            self._elsewhere.pop(sid, None)
            self._elsewhere[sid] = None
            while len(self._elsewhere) > _ELSEWHERE:
                oldest, _ = self._elsewhere.popitem(last=False)
                self.callbacks.pop(oldest, None)
        return number

    def _is_here(self, sid: Any) -> bool:
        return any(sid in rooms.get(None, {}) for rooms in self.rooms.values())

    def _decoded(self, message: dict[str, Any]) -> dict[str, Any] | None:
        name = message["channel"]
        if (name.decode() if isinstance(name, bytes) else name) != self.channel:
            return None  # our heartbeat
        try:
            data = json.loads(message["data"])
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict) or self._repeated(data.pop("decant", None)):
            return None
        return data

    def _repeated(self, stamp: Any) -> bool:
        """Whether the message of this host and number was heard already; Flask-SocketIO's have no stamp."""
        if not (isinstance(stamp, list) and len(stamp) == 2 and isinstance(stamp[1], int)):
            return False
        host, number = str(stamp[0]), stamp[1]
        last = self._numbers.pop(host, 0)
        self._numbers[host] = max(last, number)
        while len(self._numbers) > _HOSTS:
            self._numbers.popitem(last=False)
        return number <= last
