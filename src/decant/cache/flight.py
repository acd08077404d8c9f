"""Single flight: of many that miss one key at once, one computes; in this process, and in all that share the cache."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from ..bridge import detached
from .backends.base import BaseCache
from .backends.reports import logger, once_a_minute

__all__ = ["Flights", "Turn"]

_FIRST_WAIT_S: Final = 0.01
_LONGEST_WAIT_S: Final = 0.1
_PASS_S: Final = 10.0
_SETTLE_S: Final = 1.0
_PASSES: Final = 1000
_LOCK: Final = "_decant_flight_"
_computing: Final[ContextVar[frozenset[tuple[int, str]]]] = ContextVar("decant_cache_computing", default=frozenset())


@dataclass
class Turn:
    """Whether it is ours to compute, and whether the lock is to be given back, which a cache that is away cannot."""

    mine: bool
    give_back: bool = True


class Flights:
    """The computations that are under way for one cache.

    :param lease_s: how long the lock between processes lives when its holder has crashed; a living one renews it.
    """

    def __init__(self, backend: BaseCache, lease_s: float) -> None:
        self._backend, self._lease_s = backend, lease_s
        self._loops: WeakKeyDictionary[Any, dict[str, asyncio.Future[bool]]] = WeakKeyDictionary()
        self._passes: OrderedDict[str, float] = OrderedDict()
        self._mutex = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def here(self) -> dict[str, asyncio.Future[bool]]:
        """Those of the running loop, by key; each ends with whether a value was stored."""
        loop = asyncio.get_running_loop()
        with self._mutex:
            return self._loops.setdefault(loop, {})

    def passes(self, key: str) -> bool:
        """Whether this key turned out not to be cacheable lately, so that waiting for another would be in vain."""
        with self._mutex:
            until = self._passes.get(key)
        return until is not None and until > time.monotonic()

    def pass_by(self, key: str) -> None:
        """Remember that it is not."""
        with self._mutex:
            self._passes[key] = time.monotonic() + _PASS_S
            self._passes.move_to_end(key)
            if len(self._passes) > _PASSES:
                self._passes.popitem(last=False)

    def is_within(self, key: str) -> bool:
        """Whether who asks is part of the computation of this key itself, and would wait for it for ever."""
        return (id(self), key) in _computing.get()

    def begun(self, key: str) -> asyncio.Future[bool]:
        """Say that this loop computes it from now on; for :meth:`lead`, which ends that."""
        future = self.here()[key] = asyncio.get_running_loop().create_future()
        return future

    @contextmanager
    def lead(self, key: str, begun: asyncio.Future[bool] | None = None) -> Iterator[asyncio.Future[bool]]:
        """Be the one that computes in this loop; the future is to be given whether a value was stored.

        If it ends without, as by a cancellation, the future is cancelled, and one of those who wait is the next.
        """
        flights, outer = self.here(), _computing.get()
        future = begun or self.begun(key)
        _computing.set(outer | {(id(self), key)})
        try:
            yield future
        finally:
            _computing.set(outer)
            if flights.get(key) is future:
                del flights[key]
            if not future.done():
                future.cancel()

    @asynccontextmanager
    async def alone(self, key: str, found: Callable[[], Awaitable[bool]] | None = None) -> AsyncIterator[Turn]:
        """Be the one that computes among all processes that share the cache.

        :param found: looks whether there is a value by now; without, one who would have to wait has no turn.
        """
        name, token = _LOCK + key, uuid.uuid4().hex
        try:
            taken = await self._taken(name, token, found)
        except Exception:
            self._begin(self._give_back(name, token))  # it may have been taken all the same
            raise
        if not taken:
            yield Turn(mine=False)
            return
        renewal = asyncio.get_running_loop().create_task(self._renew(name), context=detached())
        turn = Turn(mine=True)
        try:
            turn.mine = found is None or not await found()
            yield turn
        finally:
            renewal.cancel()
            if turn.give_back:
                await asyncio.shield(self._begin(self._give_back(name, token)))  # or others wait until the lease ends

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that a cancellation of the caller does not reach."""
        task = asyncio.get_running_loop().create_task(work, context=detached())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settled(self) -> None:
        """Wait until this loop's locks are given back."""
        here = [task for task in tuple(self._tasks) if task.get_loop() is asyncio.get_running_loop()]
        if here:
            await asyncio.wait(here, timeout=_SETTLE_S)

    async def _taken(self, name: str, token: str, found: Callable[[], Awaitable[bool]] | None) -> bool:
        wait_s = _FIRST_WAIT_S
        while not await self._asked(name, token):
            if found is None:
                return False
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, _LONGEST_WAIT_S)
            if await found():
                return False
        return True

    async def _asked(self, name: str, token: str) -> bool:
        """Whether we have it. If the caller is cancelled meanwhile, the answer is awaited, and the lock given back."""
        asking = asyncio.get_running_loop().create_task(
            self._backend.lock(name, token, self._lease_s), context=detached()
        )
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._begin(self._refused(asking, name, token))
            raise

    async def _refused(self, asking: asyncio.Task[bool], name: str, token: str) -> None:
        await asyncio.wait([asking])
        if not asking.cancelled() and (asking.exception() is not None or asking.result()):
            await self._give_back(name, token)

    async def _renew(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self._backend.extend_lock(name, self._lease_s)
            except Exception as error:
                if once_a_minute("renewal"):
                    logger.warning("the lock of a computation cannot be renewed: %s", error)

    async def _give_back(self, name: str, token: str) -> None:
        try:
            await self._backend.unlock(name, token)
        except Exception as error:  # it ends with its lease
            logger.debug("a lock was not given back: %s", error)
