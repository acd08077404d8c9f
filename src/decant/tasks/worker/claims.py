"""A worker's claims on jobs in Redis: three Lua scripts over arq's keys, each for many jobs in one round trip."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import RedisError

__all__ = ["CONNECTION_ERRORS", "Claim", "Claims", "Ending"]

CONNECTION_ERRORS: Final = (RedisError, OSError, TimeoutError)
_SOURCES: Final = [
    files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in ("claim", "finish", "renew")
]
_pack: Final = msgspec.msgpack.Encoder().encode
_RESULTS_AT: Final = 4
_BATCH: Final = 500
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
logger = logging.getLogger("decant.worker")


class Claim(NamedTuple):
    """A job that is ours now. ``queue`` is the key of its sorted set, ``definition`` is arq's ``arq:job:<id>``."""

    id: str
    queue: str
    score: int
    definition: bytes | None
    job_try: int


@dataclass(slots=True)
class Ending:
    """What becomes of a claimed job in the index: gone, or with ``again_ms`` due again after so long."""

    claim: Claim
    again_ms: int | None = None
    result: bytes | None = None
    result_ttl_ms: int = 0
    hold_ms: int = 0
    """For how long nobody may run it again: a cron job's other ticks of the same moment."""

    def packed(self, queue: int, result_at: int) -> list[Any]:
        """As ``finish.lua`` takes it: the queue by its number, the result by where it is among the arguments."""
        if self.again_ms is None and self.result is None and not self.hold_ms:
            return [queue, self.claim.id]
        how = "done" if self.again_ms is None else self.again_ms
        return [queue, self.claim.id, how, 0 if self.result is None else result_at, self.result_ttl_ms, self.hold_ms]


def _finishing(worker: str, wake: str, endings: list[Ending]) -> tuple[list[str], list[Any]]:
    """Keys and arguments of ``finish.lua``: one for all, since redis-py needs 2 µs for each, and an end has six."""
    numbers = {queue: number for number, queue in enumerate({ending.claim.queue for ending in endings}, 1)}
    packed: list[list[Any]] = []
    results: list[bytes] = []
    for ending in endings:
        packed.append(ending.packed(numbers[ending.claim.queue], _RESULTS_AT + len(results)))
        if ending.result is not None:
            results.append(ending.result)
    return [*numbers], [worker, wake, _pack(packed), *results]


class Claims:
    """Claims, renews and ends; the ends are collected while a round trip is under way.

    :param redis: an ``ArqRedis`` whose sockets have timeouts.
    :param worker: the id that claims are made in.
    :param wake: the channel on which workers are woken.
    """

    def __init__(self, redis: Any, worker: str, wake: str) -> None:
        self._worker, self._wake = worker, wake
        self._claim, self._finish, self._renew = (redis.register_script(source) for source in _SOURCES)
        self._endings: list[Ending] = []
        self._filled, self._written = asyncio.Event(), asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def claim(self, shares: Mapping[str, int], lease_ms: int) -> tuple[list[Claim], float | None]:
        """Claim at most ``sum(shares.values())`` due jobs; also the seconds until the next one is due, if any waits.

        :param shares: the key of each queue and how many of its jobs to take, if there are as many.
        """
        keys = list(shares)
        due_ms, *found = await self._claim(keys, [self._worker, lease_ms, sum(shares.values()), *shares.values()])
        claims = [
            Claim(id_.decode(), keys[number - 1], int(float(score)), definition, job_try)
            for number, id_, score, definition, job_try in found
        ]
        return claims, None if due_ms < 0 else due_ms / 1000

    async def renew(self, claims: Iterable[Claim], lease_ms: int, *, alone: bool = True) -> set[str]:
        """Renew; the ids that another worker holds by now.

        :param alone: whether every worker keeps these claims; not so for stock arq ones, whose claims carry no name.
        """
        claims = list(claims)
        if not claims:
            return set()
        arguments = [self._worker, lease_ms, int(alone), *(claim.id for claim in claims)]
        return {id_.decode() for id_ in await self._renew([claim.queue for claim in claims], arguments)}

    def end(self, ending: Ending) -> None:
        """Write it soon, however long Redis is away: nothing is claimed meanwhile, so that there are never many."""
        self._endings.append(ending)
        self._written.clear()
        self._filled.set()
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def written(self) -> None:
        """Wait until no end is left to be written."""
        if self._filled.is_set():
            await self._written.wait()

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Write what is left."""
        if self._writer is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.written()
        if self._filled.is_set():
            logger.warning("Redis did not learn of all jobs that have ended: they are found ended by who begins them")
        self._writer.cancel()
        await asyncio.wait([self._writer])
        self._writer = None

    async def _write(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._filled.wait()
            batch, self._endings = self._endings[:_BATCH], self._endings[_BATCH:]
            try:
                await self._finish(*_finishing(self._worker, self._wake, batch))
                pause_s = _FIRST_PAUSE_S
            except CONNECTION_ERRORS as error:
                self._endings[:0] = batch
                logger.debug("ended jobs wait for Redis: %s: %s", type(error).__name__, error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            if not self._endings:
                self._filled.clear()
                self._written.set()
