"""The keys and channels in Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

__all__ = ["ARQ_FUNCTION", "Names"]

ARQ_FUNCTION: Final = "decant.run"
"""The one function of arq's that runs every task."""


@dataclass(frozen=True)
class Names:
    """What is kept in Redis, all of it under ``prefix``, besides arq's own keys.

    >>> Names("decant").queue("mail")
    'decant:queue:mail'
    """

    prefix: str = "decant"

    def queue(self, name: str) -> str:
        """A sorted set of arq's: ids of jobs by the millisecond from which they are due, less their priority."""
        return f"{self.prefix}:queue:{name}"

    @property
    def wake(self) -> str:
        """A channel: the name of a queue into which something was put."""
        return f"{self.prefix}:wake"

    @property
    def control(self) -> str:
        """A channel: commands to workers."""
        return f"{self.prefix}:control"

    def job(self, id: UUID | str) -> str:  # noqa: A002
        """A channel: the progress of one job, and its end."""
        return f"{self.prefix}:job:{id}"

    def result(self, id: UUID | str) -> str:  # noqa: A002
        """The record of a job that is not durable."""
        return f"{self.prefix}:result:{id}"

    def worker(self, id: str) -> str:  # noqa: A002
        """The heartbeat of a worker."""
        return f"{self.prefix}:worker:{id}"

    @property
    def events(self) -> str:
        """A stream: what happened."""
        return f"{self.prefix}:events"

    @property
    def alive(self) -> str:
        """A marker; where it is missing, Redis was flushed."""
        return f"{self.prefix}:alive"

    @property
    def beat(self) -> str:
        """What wakes the schedule's keeper."""
        return f"{self.prefix}:beat"
