"""Counters of this process, for all of its threads and loops."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Sequence
from typing import Any

from limits.aio.storage import MovingWindowSupport, SlidingWindowCounterSupport
from limits.aio.storage import Storage as LimitsStorage
from limits.util import WindowStats

from .base import Answer, Claim, Decision
from .windows import WINDOWS, Cell, Fixed, Moving, Sliding, Window

__all__ = ["MemoryStorage"]


class MemoryStorage(LimitsStorage, MovingWindowSupport, SlidingWindowCounterSupport):
    """A storage of :mod:`limits.aio` whose every step is one step for all threads; what has expired is forgotten."""

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._lock = threading.Lock()
        self._cells: dict[str, Cell] = {}
        self._ends: list[tuple[float, str]] = []  # a heap; the cell may have been prolonged since

    def __len__(self) -> int:
        return len(self._cells)

    # -- cells, under the lock ------------------------------------------------------------------------------------

    def cell(self, key: str, now: float) -> Cell | None:
        """What is there and has not expired."""
        cell = self._cells.get(key)
        return cell if cell is not None and cell.expires > now else None

    def put(self, key: str, cell: Cell) -> None:
        self._cells[key] = cell
        heapq.heappush(self._ends, (cell.expires, key))

    def drop(self, key: str) -> Cell | None:
        return self._cells.pop(key, None)

    def _forget_expired(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, key = heapq.heappop(self._ends)
            cell = self._cells.get(key)
            if cell is None:
                continue
            if cell.expires > now:
                heapq.heappush(self._ends, (cell.expires, key))
            else:
                del self._cells[key]

    # -- deciding -------------------------------------------------------------------------------------------------

    async def decide(
        self, claims: Sequence[Claim], strategy: str, *, stops: bool = True, consumes: bool = False
    ) -> Decision:
        """See :class:`~decant.limiter.storage.base.Storage`."""
        now = time.time()
        with self._lock:
            self._forget_expired(now)
            decision = _Deciding(WINDOWS[strategy](self, now), claims, stops, consumes)
            return Decision(decision.run(), repr(now))

    # -- the interface of limits.aio ------------------------------------------------------------------------------

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return ValueError

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count; the first one starts the window."""
        with self._lock:
            window = Fixed(self, time.time())
            window.take(key, amount, 0, int(expiry))
            return window.used(key, int(expiry))

    async def get(self, key: str) -> int:
        with self._lock:
            return Fixed(self, time.time()).used(key, 0)

    async def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since the epoch."""
        with self._lock:
            now = time.time()
            cell = self.cell(key, now)
            return cell.expires if cell else now

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        with self._lock:
            count = len(self._cells)
            self._cells.clear()
            self._ends.clear()
            return count

    async def clear(self, key: str) -> None:
        with self._lock:
            self.drop(key)

    async def _acquire(self, window: Window, key: str, limit: int, expiry: int, amount: int) -> bool:
        with self._lock:
            if window.used(key, expiry) + amount > limit:
                return False
            window.take(key, amount, limit, expiry)
            return True

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return await self._acquire(Moving(self, time.time()), key, limit, expiry, amount)

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest within the window was, and how many there are."""
        with self._lock:
            window = Moving(self, time.time())
            used = window.used(key, expiry)
            return window.reset(key, expiry) - expiry, used

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return await self._acquire(Sliding(self, time.time()), key, limit, expiry, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The count and the seconds left of the window before and of the current one."""
        with self._lock:
            return Sliding(self, time.time()).windows(key, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        with self._lock:
            for part in Sliding.keys(key):
                self.drop(part)


class _Deciding:
    """The same steps as decide.lua."""

    def __init__(self, window: Window, claims: Sequence[Claim], stops: bool, consumes: bool) -> None:
        self.window, self.claims, self.stops, self.consumes = window, claims, stops, consumes
        self.keys = [claim.key for claim in claims]
        self.states: list[bool | None] = [None] * len(claims)
        self.planned: dict[str, int] = {}

    def run(self) -> list[Answer | None]:
        unharmed = all(self._look(i) for i, claim in enumerate(self.claims) if claim.role == "meta")
        breached = unharmed and self._look_at_limits()
        for i, claim in enumerate(self.claims):
            if claim.role == "hit" and unharmed and not breached and not self.consumes:
                self._take(i, claim.cost)
            elif claim.role == "meta" and breached and (claim.owner < 0 or self.states[claim.owner] is False):
                self._take(i, 1)
            elif claim.role == "refund" and (breached or not unharmed) and not self.consumes:
                self.window.give_back(self.keys[i], claim.cost, claim.stamp)
        return [self._answer(i) for i in range(len(self.claims))]

    def _look(self, i: int) -> bool:
        claim, key = self.claims[i], self.keys[i]
        before = self.planned.get(key, 0)  # two limits of one request may share a key
        used = self.window.used(key, claim.item.get_expiry())
        self.states[i] = passed = used + before + claim.cost <= claim.item.amount
        if claim.role == "hit" and not self.consumes:
            self.planned[key] = before + claim.cost
        return passed

    def _look_at_limits(self) -> bool:
        breached = False
        for i, claim in enumerate(self.claims):
            if claim.role not in ("hit", "test"):
                continue
            passed = self._look(i)
            breached = breached or not passed
            if self.consumes and claim.role == "hit" and (passed or isinstance(self.window, Fixed)):
                self._take(i, claim.cost)
            if not passed and self.stops:
                break
        return breached

    def _take(self, i: int, cost: int) -> None:
        item = self.claims[i].item
        if cost > 0:
            self.window.take(self.keys[i], cost, item.amount, item.get_expiry())

    def _answer(self, i: int) -> Answer | None:
        passed, item = self.states[i], self.claims[i].item
        if passed is None:
            return None
        key, expiry = self.keys[i], item.get_expiry()
        remaining = max(item.amount - self.window.used(key, expiry), 0)
        return Answer(passed, WindowStats(self.window.reset(key, expiry), remaining))
