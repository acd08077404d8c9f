"""A connection pool whose waiters may be tasks and threads at once.

SQLAlchemy's asyncio pool keeps its connections in an ``asyncio.Queue``, which only its own loop may touch: a thread
that returns a connection wakes the waiting task whenever the loop happens to turn next. Here whoever returns a
connection hands it to the longest waiter, and wakes that one's loop with ``call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util import queue as sa_queue
from sqlalchemy.util.concurrency import in_greenlet

from ..bridge import bridged, wait
from .unavailable import PoolTimeout

__all__ = ["BridgedQueuePool"]

# As with SQLAlchemy's own pools, what they open and close is logged where it is asked for: by echo_pool, or a level.
if (_logger := logging.getLogger(__name__)).level == logging.NOTSET:
    _logger.setLevel(logging.WARNING)


class _Slot:
    """Handed to a waiter in place of a connection: the right to open one."""


_SLOT: Final = _Slot()
_terminating: Final[set[asyncio.Task[None]]] = set()


class _Waiter:
    """One task or thread that waits; ``given`` is what it gets, set under the mutex."""

    __slots__ = ("future", "given", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.given: Any = None

    def give(self, item: Any) -> bool:
        """Hand over ``item``, from any thread; ``False`` if nobody can be woken any more."""
        self.given = item
        try:
            if asyncio._get_running_loop() is self.loop:
                self._wake()
            else:
                self.loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # its loop is closed
            self.given = None
            return False
        return True

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class _Exchange(sa_queue.QueueCommon[ConnectionPoolEntry]):
    """Idle connections and those who wait for one, first come first served.

    The mutex is re-entrant because the garbage collector may return a connection while it is held; for the same
    reason each side is entered before the two are matched.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize, self.use_lifo = maxsize, use_lifo
        self.mutex = threading.RLock()
        self._idle: deque[ConnectionPoolEntry] = deque()
        self._waiters: deque[_Waiter] = deque()

    def empty(self) -> bool:
        return not self._idle

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._idle)

    def qsize(self) -> int:
        return len(self._idle)

    def put(self, item: ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:
        with self.mutex:
            if self.full():
                raise sa_queue.Full
            self.put_back(item)

    def put_nowait(self, item: ConnectionPoolEntry) -> None:
        self.put(item, False)

    def get(self, block: bool = True, timeout: float | None = None) -> ConnectionPoolEntry:
        with self.mutex:
            if not self._idle:
                raise sa_queue.Empty
            return self._idle.pop() if self.use_lifo else self._idle.popleft()

    def get_nowait(self) -> ConnectionPoolEntry:
        return self.get(False)

    def put_back(self, item: ConnectionPoolEntry) -> None:
        """Take an idle connection, even one more than ``maxsize``: who gives it back may be unable to close it."""
        with self.mutex:
            self._idle.append(item)
            self._match()

    def _match(self) -> None:
        while self._idle and self._waiters:
            item = self.get_nowait()
            if not self._waiters.popleft().give(item):
                self._idle.appendleft(item)

    def give_slot(self) -> bool:
        """Let the longest waiter open a connection; ``False`` if nobody waits."""
        with self.mutex:
            while self._waiters:
                if self._waiters.popleft().give(_SLOT):
                    return True
            return False

    async def arrival(self, timeout_s: float | None, slot: Callable[[], bool], free: Callable[[], object]) -> Any:
        """Wait for a connection or a slot; ``None`` when ``timeout_s`` is over.

        :param slot: takes a slot if there is one now.
        :param free: gives it back.
        """
        waiter = _Waiter()
        with self.mutex:
            self._waiters.append(waiter)
            self._match()
            if waiter.given is None and slot():
                self._waiters.remove(waiter)
                return _SLOT
        try:
            await asyncio.wait([waiter.future], timeout=timeout_s)
        except asyncio.CancelledError:
            self._leave(waiter)
            if waiter.given is _SLOT:
                free()
            elif waiter.given is not None:
                self.put_back(waiter.given)
            raise
        self._leave(waiter)
        return waiter.given

    def _leave(self, waiter: _Waiter) -> None:
        with self.mutex:
            if waiter.given is None and waiter in self._waiters:
                self._waiters.remove(waiter)


class BridgedQueuePool(AsyncAdaptedQueuePool):
    """A ``QueuePool`` for async drivers, used from tasks, from bridged code and from threads of the bridge at once.

    ``pool_size``, ``max_overflow``, ``timeout``, ``use_lifo`` and the rest are SQLAlchemy's. What differs: waiting is
    fair, ends when a slot becomes free because a connection could not be opened, and is safe from threads; the
    first connection is opened alone, because SQLAlchemy guards the dialect's set-up with an ``asyncio.Lock``.

    :raises PoolTimeout: a ``sqlalchemy.exc.TimeoutError``, if no connection was free within ``timeout`` seconds.
    """

    _queue_class = _Exchange
    _pool: _Exchange

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opened = False
        self._first = _Exchange()  # its one item is the right to open the first connection
        self._opening = False

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return self._pool.get_nowait()
        except sa_queue.Empty:
            pass  # SQLAlchemy reports errors from here on without it as their cause
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        if not self._inc_overflow():
            given = wait(self._pool.arrival(self._timeout, self._inc_overflow, self._dec_overflow))
            if given is None:
                raise self._timed_out()
            if given is not _SLOT:
                return given  # type: ignore[no-any-return]
        try:
            return self._open(deadline)
        except BaseException:
            self._dec_overflow()
            raise

    def _open(self, deadline: float | None) -> ConnectionPoolEntry:
        if self._opened:
            return self._create_connection()
        if not self._may_open_first():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if wait(self._first.arrival(left, self._may_open_first, self._opened_first)) is None:
                raise self._timed_out()
        try:
            record = self._create_connection()
            self._opened = True
        finally:
            self._opened_first()
        return record

    def _may_open_first(self) -> bool:
        with self._first.mutex:
            if self._opening and not self._opened:
                return False
            self._opening = True
            return True

    def _opened_first(self) -> None:
        with self._first.mutex:
            self._opening = self._first.give_slot()
            while self._opened and self._first.give_slot():
                pass

    def _close_connection(self, connection: DBAPIConnection, *, terminate: bool = False) -> None:
        """Terminate in a task of its own: on the loop though this be a thread, and to the end though cancelled again.

        SQLAlchemy would cut the connection at the second cancellation, and the server would go on with its query.
        """
        if terminate and in_greenlet():
            wait(self._terminated(connection))
        else:
            super()._close_connection(connection, terminate=terminate)

    async def _terminated(self, connection: DBAPIConnection) -> None:
        task = asyncio.get_running_loop().create_task(bridged(self._terminate(connection)))
        _terminating.add(task)
        task.add_done_callback(_terminating.discard)
        await asyncio.wait([task])

    async def _terminate(self, connection: DBAPIConnection) -> None:
        super()._close_connection(connection, terminate=True)

    def _timed_out(self) -> PoolTimeout:
        return PoolTimeout(
            f"no connection was free within {self._timeout} s: pool_size {self.size()}, max_overflow"
            f" {self._max_overflow}, {self.checkedout()} checked out"
        )

    def _inc_overflow(self) -> bool:
        with self._pool.mutex:
            if self._max_overflow != -1 and self._overflow >= self._max_overflow:
                return False
            self._overflow += 1
            return True

    def _dec_overflow(self) -> Literal[True]:
        with self._pool.mutex:
            if not self._pool.give_slot():
                self._overflow -= 1
        return True
