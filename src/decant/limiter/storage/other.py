"""Counters in Memcached, MongoDB, a Redis Cluster or behind Sentinel: the storages of ``limits.aio``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

from limits.aio.storage import Storage as LimitsStorage
from limits.aio.strategies import STRATEGIES as LIMITS_STRATEGIES
from limits.aio.strategies import RateLimiter
from limits.storage import storage_from_string

from .base import Answer, Claim, Decision

__all__ = ["OtherStorage"]


class OtherStorage:
    """A storage of :mod:`limits.aio`, one for each event loop, decided with a step for each limit.

    Each limit is decided atomically where ``limits`` does so; between the limits of one request, another may come.
    The limits are looked at first, and counted if none is breached.

    :param uri: ``async+…://``.
    :param deadline_s: for all steps of one decision.
    """

    def __init__(self, uri: str, options: dict[str, Any], deadline_s: float) -> None:
        self.uri, self.options, self.deadline_s = uri, options, deadline_s
        self._storages: WeakKeyDictionary[asyncio.AbstractEventLoop, LimitsStorage] = WeakKeyDictionary()
        self._make()  # now, so that a wrong one stops the start

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uri.partition('://')[0]}>"

    def _make(self) -> LimitsStorage:
        return cast(LimitsStorage, storage_from_string(self.uri, **self.options))

    @property
    def here(self) -> LimitsStorage:
        """The storage of the running loop."""
        loop = asyncio.get_running_loop()
        storage = self._storages.get(loop)
        if storage is None:
            storage = self._storages[loop] = self._make()
        return storage

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """What its server's client raises."""
        return self.here.base_exceptions

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.here, name)

    async def decide(
        self, claims: Sequence[Claim], strategy: str, *, stops: bool = True, consumes: bool = False
    ) -> Decision:
        """See :class:`~decant.limiter.storage.base.Storage`.

        :raises TimeoutError: after ``deadline_s``.
        """
        kind: Any = LIMITS_STRATEGIES[strategy]
        limiter: RateLimiter = kind(self.here)
        async with asyncio.timeout(self.deadline_s):
            return Decision(await _Steps(limiter, claims, stops, consumes).run())


class _Steps:
    def __init__(self, limiter: RateLimiter, claims: Sequence[Claim], stops: bool, consumes: bool) -> None:
        self.limiter, self.claims, self.stops, self.consumes = limiter, claims, stops, consumes
        self.states: list[bool | None] = [None] * len(claims)

    async def run(self) -> list[Answer | None]:
        if await self._each(self.limiter.test, "meta", stops=True):
            if self.consumes:
                passed = await self._each(None, "hit", "test", stops=self.stops)
            else:
                passed = await self._each(self.limiter.test, "hit", "test", stops=self.stops)
                passed = passed and await self._each(self.limiter.hit, "hit", stops=self.stops)
            if not passed:
                await self._count_breaches()
        return [await self._answer(i) for i in range(len(self.claims))]

    async def _each(self, step: Callable[..., Any] | None, *roles: str, stops: bool) -> bool:
        """Whether all claims of these roles passed; by default, a hit is counted, and a test looked at."""
        all_passed = True
        for i, claim in enumerate(self.claims):
            if claim.role not in roles:
                continue
            one = step or (self.limiter.hit if claim.role == "hit" else self.limiter.test)
            self.states[i] = passed = bool(await one(claim.item, *claim.args, cost=claim.cost))
            all_passed = all_passed and passed
            if not passed and stops:
                break
        return all_passed

    async def _count_breaches(self) -> None:
        for claim in self.claims:
            if claim.role == "meta" and (claim.owner < 0 or self.states[claim.owner] is False):
                await self.limiter.hit(claim.item, *claim.args)

    async def _answer(self, i: int) -> Answer | None:
        passed, claim = self.states[i], self.claims[i]
        if passed is None:
            return None
        return Answer(passed, await self.limiter.get_window_stats(claim.item, *claim.args))
