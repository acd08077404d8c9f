"""How an attempt ended, and which exceptions mean what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from .. import states
from ..errors import Ignore, Reject, Retry, TaskRevokedError, TimeLimitExceeded, WorkerLostError
from .limits import Limits
from .processes import ProcessDied, TooMuchMemory

__all__ = ["DIED", "GIVEN_BACK", "LOST", "Ended", "by_error", "by_stop", "when"]

GIVEN_BACK: Final = states.PENDING
"""It waits again, as if it had never been begun."""
LOST: Final = "LOST"
"""It is another worker's, or the database is away: nothing is known of it here any more."""
DIED: Final = "DIED"
"""The process that ran it has died; that counts."""
_REQUEUED_S: Final = 1.0


@dataclass(slots=True)
class Ended:
    """``state`` is one of Celery's, or of the three above; ``again_s`` when arq shall bring the job again."""

    state: str
    value: Any = None
    error: BaseException | None = None
    again_s: float | None = None
    terminated: bool = False
    expired: bool = False

    @property
    def retval(self) -> Any:
        """What ``after_return`` is given: the value, or the exception."""
        return self.value if self.error is None else self.error


def by_error(error: BaseException) -> Ended:
    """The end by an exception of the function, after ``autoretry_for``."""
    if isinstance(error, Retry):
        return Ended(states.RETRY, error=error)
    if isinstance(error, Reject):
        if error.requeue:
            return Ended(GIVEN_BACK, error=error, again_s=_REQUEUED_S)
        return Ended(states.REJECTED, error=error)
    if isinstance(error, Ignore):
        return Ended(states.IGNORED, error=error)
    if isinstance(error, ProcessDied):
        return Ended(DIED, error=error, again_s=0.1)
    if isinstance(error, TooMuchMemory):
        error = WorkerLostError(str(error))  # which whoever waits for the job knows
    return Ended(states.FAILURE, error=error)


def by_stop(reason: str, limits: Limits) -> Ended:
    """The end by :meth:`.Stopper.stop`."""
    if reason == "hard":
        return Ended(states.FAILURE, error=TimeLimitExceeded(limits.hard_s))
    if reason == "revoked":
        return Ended(states.REVOKED, error=TaskRevokedError("terminated"), terminated=True)
    if reason == "lost":
        return Ended(LOST)
    return Ended(GIVEN_BACK, again_s=0.0)


def when(retry: Retry, zone: tzinfo) -> datetime:
    """The time of the next try."""
    if isinstance(retry.when, datetime):
        return retry.when if retry.when.tzinfo is not None else retry.when.replace(tzinfo=zone)
    return datetime.now(UTC) + timedelta(seconds=retry.when or 0)
