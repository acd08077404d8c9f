"""News of jobs: one subscription per event loop, shared by all who wait there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from ...errors import Overloaded, Unavailable
from ...redis import Redis
from ..codec import decode
from .names import Names

__all__ = ["Listener", "Messages"]

logger = logging.getLogger("decant.tasks")
Message = tuple[UUID, Mapping[str, Any]]
_FIRST_S: Final = 1.0
_BLIND_S: Final = 1.0
_SILENCE_S: Final = 5.0
_LINGER_S: Final = 10.0
_KEPT: Final = 1000


class Messages:
    """What one waiter hears. At most 1,000 are kept; older ones are dropped, never the last."""

    def __init__(self, ears: _Ears) -> None:
        self._ears = ears
        self._queue: asyncio.Queue[Message | None] = asyncio.Queue(_KEPT)

    def put(self, message: Message | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(message)

    async def next(self, timeout_s: float | None = None) -> Message | None:
        """The next message, as ``(id, message)``.

        ``None`` after ``timeout_s`` seconds, and whenever messages may have been missed, at least once a second while
        Redis is away: then look at the ledger.
        """
        if not self._ears.hears:
            timeout_s = _BLIND_S if timeout_s is None else min(timeout_s, _BLIND_S)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._queue.get()
        except TimeoutError:
            return None


class Listener:
    """Hears the messages of :meth:`Dispatcher.publish <decant.tasks.dispatch.Dispatcher.publish>`."""

    def __init__(self, redis: Redis, names: Names) -> None:
        self._redis, self._names = redis, names
        self._ears: WeakKeyDictionary[asyncio.AbstractEventLoop, _Ears] = WeakKeyDictionary()

    @asynccontextmanager
    async def subscribed(self, ids: Iterable[UUID]) -> AsyncIterator[Messages]:
        """Listen for the news of jobs, for as long as the block lasts.

        What happens once the block has begun is heard; so look at the ledger then. Where Redis is away, nothing is
        raised: see :meth:`Messages.next`.
        """
        loop = asyncio.get_running_loop()
        ears = self._ears.get(loop)
        if ears is None:
            ears = self._ears[loop] = _Ears(self._redis)
        messages = Messages(ears)
        channels = {self._names.job(id_).encode(): id_ for id_ in ids}
        ears.add(channels, messages)
        try:
            await ears.heard(channels)
            yield messages
        finally:
            ears.remove(channels, messages)

    async def aclose(self) -> None:
        """Close the subscription of the running loop."""
        ears = self._ears.pop(asyncio.get_running_loop(), None)
        if ears is not None:
            await ears.aclose()


class _Channel:
    """One job's: who listens, and whether the server has said that we are subscribed."""

    def __init__(self, id_: UUID) -> None:
        self.id, self.waiters = id_, set[Messages]()
        self.subscribed = asyncio.Event()


class _Ears:
    """The subscription of one loop: kept while somebody listens, and a little longer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._channels: dict[bytes, _Channel] = {}
        self._pubsub: Any = None
        self._task: asyncio.Task[None] | None = None
        self._senders: set[asyncio.Task[None]] = set()
        self.hears = False

    def add(self, channels: Mapping[bytes, UUID], messages: Messages) -> None:
        new = [name for name in channels if name not in self._channels]
        for name, id_ in channels.items():
            self._channels.setdefault(name, _Channel(id_)).waiters.add(messages)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._listen(), context=Context())
        elif self._pubsub is not None and new:
            self._send(self._pubsub, "subscribe", new)

    def remove(self, channels: Mapping[bytes, UUID], messages: Messages) -> None:
        old = []
        for name in channels:
            channel = self._channels.get(name)
            if channel is not None:
                channel.waiters.discard(messages)
                if not channel.waiters:
                    del self._channels[name]
                    old.append(name)
        if self._pubsub is not None and old:
            self._send(self._pubsub, "unsubscribe", old)

    async def heard(self, channels: Iterable[bytes]) -> None:
        """Wait until the server has confirmed that it sends what is published there; not long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_S):
                for name in channels:
                    if name in self._channels:
                        await self._channels[name].subscribed.wait()

    def _send(self, pubsub: Any, command: str, names: list[bytes]) -> None:
        task = asyncio.get_running_loop().create_task(self._sent(pubsub, command, names), context=Context())
        self._senders.add(task)
        task.add_done_callback(self._senders.discard)

    async def _sent(self, pubsub: Any, command: str, names: list[bytes]) -> None:
        # What was added or removed again meanwhile is as it is now: commands travel in the order of these tasks.
        wanted = command == "subscribe"
        names = [name for name in names if (name in self._channels) == wanted]
        if names and pubsub is self._pubsub:
            with suppress(Unavailable, Overloaded):  # whoever reads from the connection notices
                await getattr(pubsub, command)(*names)

    async def _listen(self) -> None:
        pause_s = 0.1
        while self._channels:
            try:
                async with self._redis.pubsub() as pubsub:
                    await self._open(pubsub)
                    while await self._read(pubsub):
                        pause_s = 0.1
            except (Unavailable, Overloaded) as error:
                logger.debug("news of jobs are not heard for %.1f s: %s", pause_s, error)
            except Exception:
                logger.exception("news of jobs are not heard for %.1f s", pause_s)
            finally:
                self._deaf()
            if self._channels:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 2.0)

    async def _open(self, pubsub: Any) -> None:
        first = [*self._channels]
        await pubsub.subscribe(*first)
        self._pubsub = pubsub
        late = [name for name in self._channels if name not in first]
        if late:
            self._send(pubsub, "subscribe", late)

    def _deaf(self) -> None:
        self._pubsub, self.hears = None, False
        for channel in self._channels.values():
            channel.subscribed.clear()
            for waiter in channel.waiters:
                waiter.put(None)

    async def _read(self, pubsub: Any) -> bool:
        """Hear one message; whether to go on."""
        message = await pubsub.get_message(timeout=_SILENCE_S if self._channels else _LINGER_S)
        if message is None:
            if not self._channels:
                return False  # nobody has listened for a while
            await pubsub.ping()
            message = await pubsub.get_message(timeout=_SILENCE_S)
            if message is None:
                return False  # half open, or frozen: connect again
        self._hear(message)
        return True

    def _hear(self, message: Mapping[str, Any]) -> None:
        channel = self._channels.get(message["channel"] or b"")
        if channel is None:
            return
        if message["type"] == "subscribe":
            self.hears = True
            channel.subscribed.set()
        elif message["type"] == "message":
            try:
                content = decode(message["data"])
            except Exception:
                logger.warning("a message about job %s cannot be read", channel.id)
                content = {}
            for waiter in channel.waiters:
                waiter.put((channel.id, content))

    async def aclose(self) -> None:
        tasks = [task for task in (self._task, *self._senders) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_FIRST_S)
