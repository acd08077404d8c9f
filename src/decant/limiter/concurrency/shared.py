"""Slots that several processes share: leases in Redis, which a process that has crashed does not renew."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from importlib.resources import files
from typing import Any, Final
from uuid import uuid4
from weakref import WeakKeyDictionary

from ...redis import Redis
from .slots import Full, Slots

__all__ = ["SharedSlots"]

_SOURCE: Final = files(__package__).joinpath("lease.lua").read_text()
_POLL_S: Final = (0.005, 0.1)
logger = logging.getLogger("decant.limiter")


class _Keeper:
    """Renews the leases that one loop holds, while it holds any."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.task: asyncio.Task[None] | None = None


class SharedSlots:
    """So many for each key, in all processes that use this Redis.

    Who finds none waits; of those that wait in one process, the first asks again every 5 to 100 milliseconds.

    :param redis: the application's client.
    :param queue: how many may wait for each key in this process.
    :param lease_s: after so many seconds the slots of a crashed process are free. A lease is renewed every third of
        that, as long as the event loop that took it runs; in a plain thread, without a loop, it is not.
    """

    def __init__(self, redis: Redis, limit: int, queue: int, lease_s: float) -> None:
        self.limit, self.lease_s, self.redis = limit, lease_s, redis
        self._script = redis.script(_SOURCE)
        self._turns = Slots(1, queue - 1)
        self._queues = queue > 0
        self._keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Keeper] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def acquire(self, key: str, wait_s: float) -> str:
        """Take a slot, within ``wait_s`` seconds; what it returns is to be given to :meth:`release`.

        :raises Full: if that cannot be.
        :raises RedisUnavailable: if Redis does not answer.
        """
        token = uuid4().hex
        try:
            if self._turns.busy(key) or not await self._take(key, token):
                await self._queue(key, token, wait_s)
        except Full:
            raise
        except BaseException:  # it may have been taken
            self._start(self._drop(key, token))
            raise
        self._keep(key, token)
        return token

    async def _take(self, key: str, token: str) -> bool:
        taken = await self._script([key], ["take", self.limit, int(self.lease_s * 1000), token])
        return bool(taken)

    async def _queue(self, key: str, token: str, wait_s: float) -> None:
        if not self._queues:
            raise Full
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + wait_s
        await self._turns.acquire(key, wait_s)
        try:
            poll_s = _POLL_S[0]
            while not await self._take(key, token):
                left_s = ends_at - loop.time()
                if left_s <= 0:
                    raise Full
                await asyncio.sleep(min(left_s, poll_s * random.uniform(0.7, 1.3)))
                poll_s = min(poll_s * 1.5, _POLL_S[1])
        finally:
            self._turns.release(key)

    async def release(self, key: str, token: str) -> None:
        """Give it back; a caller that is cancelled does not prevent that."""
        keeper = self._keepers.get(asyncio.get_running_loop())
        if keeper is not None:
            keeper.held.pop(token, None)
        await asyncio.shield(self._start(self._drop(key, token)))

    async def _drop(self, key: str, token: str) -> None:
        try:
            await self.redis.zrem(key, token)
        except Exception as error:
            logger.warning("a slot of %s is given back when its lease ends: %s", key, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _keep(self, key: str, token: str) -> None:
        loop = asyncio.get_running_loop()
        keeper = self._keepers.setdefault(loop, _Keeper())
        keeper.held[token] = key
        if keeper.task is None or keeper.task.done():
            keeper.task = self._start(self._renew(keeper))

    async def _renew(self, keeper: _Keeper) -> None:
        while keeper.held:
            await asyncio.sleep(self.lease_s / 3)
            held = dict(keeper.held)
            if not held:
                return
            try:
                kept = await self._script(list(held.values()), ["keep", int(self.lease_s * 1000), *held])
            except Exception as error:
                logger.warning("%s leases could not be renewed: %s", len(held), error)
            else:
                if kept < len(held):
                    logger.warning("%s leases had ended before they were renewed", len(held) - kept)
