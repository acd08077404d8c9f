"""Counters in Redis, on the keys that ``limits`` and so Flask-Limiter use, through the application's client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from limits.aio.storage import RedisStorage as LimitsRedisStorage
from limits.util import WindowStats

from ...redis import Redis
from .base import Answer, Claim, Decision

__all__ = ["RedisStorage"]

_SOURCE = files(__package__).joinpath("decide.lua").read_text()


class RedisStorage(LimitsRedisStorage):
    """The storage of :mod:`limits.aio` on a :class:`decant.redis.Redis`, and :meth:`decide`.

    :param redis: pooled, bounded in time, usable on any loop.
    :param key_prefix: of all keys in Redis, before a colon.
    """

    def __init__(self, redis: Redis, key_prefix: str = LimitsRedisStorage.PREFIX) -> None:
        self.redis = redis
        # Not our URL: limits refuses some that redis-py takes (no port), and wants valkey-py for others (unix://).
        super().__init__("redis://localhost:6379", implementation="redispy", key_prefix=key_prefix)
        self._decide = redis.script(_SOURCE)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.redis!r}>"

    def configure_bridge(self) -> None:
        bridge: Any = self.bridge
        bridge.storage = self.redis
        bridge.connection_getter = lambda readonly: self.redis

    async def decide(
        self, claims: Sequence[Claim], strategy: str, *, stops: bool = True, consumes: bool = False
    ) -> Decision:
        """See :class:`~decant.limiter.storage.base.Storage`; one round trip."""
        keys: list[str] = []
        args: list[Any] = [strategy, int(stops), int(consumes)]
        for claim in claims:
            key = claim.key
            if strategy == "sliding-window-counter":
                keys += (self._prefixed(self._current_window_key(key)), self._prefixed(self._previous_window_key(key)))
            else:
                keys.append(self._prefixed(key))
            more = claim.owner + 1 if claim.role == "meta" else claim.stamp
            args += (claim.role, claim.item.amount, claim.item.get_expiry(), claim.cost, more)
        stamp, *reply = await self._decide(keys, args)
        now = time.time()
        answers = [
            None if state == -1 else Answer(state == 1, WindowStats(now + reset_ms / 1000, remaining))
            for state, reset_ms, remaining in zip(*[iter(reply)] * 3, strict=True)
        ]
        return Decision(answers, stamp if isinstance(stamp, str) else stamp.decode())

    def _prefixed(self, key: str) -> str:
        return self.bridge.prefixed_key(key)
