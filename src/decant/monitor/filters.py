"""Which jobs are asked for: read from a query string, and kept in the links of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ..tasks import states
from .searching import SearchError

__all__ = ["STATES", "Cursor", "JobFilter", "read_time"]

STATES = (
    states.PENDING,
    states.RETRY,
    states.STARTED,
    states.SUCCESS,
    states.FAILURE,
    states.REVOKED,
    states.REJECTED,
    states.IGNORED,
)
"""Those that a job in the ledger can have."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 300
_FORMATS = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


def read_time(text: str) -> datetime:
    """A time in UTC, as ``<input type="datetime-local">`` and Flower's API write it.

    :raises ValueError: with a sentence for whoever wrote it.
    """
    for pattern in _FORMATS:
        try:
            return datetime.strptime(text.strip(), pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ValueError(f"{text[:40]!r} is not a time: write it as 2026-11-26 06:30, in UTC.")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two rows of the jobs, which are in the order of their creation."""

    created: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{(self.created - _EPOCH) // timedelta(microseconds=1):x}.{self.id.hex}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """What ``str()`` made of one.

        :raises ValueError: if it did not.
        """
        at, _, id_ = text.partition(".")
        try:
            return cls(_EPOCH + timedelta(microseconds=int(at, 16)), UUID(id_))
        except (ValueError, OverflowError):
            raise ValueError("The address of this page is incomplete: begin at the first page again.") from None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What of a job must be so; an empty value asks for nothing. Times are those of its creation."""

    state: str = ""
    task: str = ""
    worker: str = ""
    queue: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> JobFilter:
        """From the parameters of the same names.

        :raises SearchError: with a sentence for whoever wrote them.
        """
        values = {name: given.get(name, "").replace("\0", "").strip() for name in cls.names()}
        for name in ("task", "worker", "queue"):
            if len(values[name]) > _LONGEST:
                raise SearchError(f"The name of a {name} has at most {_LONGEST} characters.")
        state = values["state"].upper()
        if state and state not in STATES:
            raise SearchError(f"{state[:40]!r} is no state of a job: they are {', '.join(STATES)}.")
        try:
            since, until = (read_time(values[name]) if values[name] else None for name in ("since", "until"))
        except ValueError as error:
            raise SearchError(str(error)) from None
        return cls(state, values["task"], values["worker"], values["queue"], since, until, values["text"])

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))

    def parameters(self) -> dict[str, str]:
        """For the query string of a link to the same jobs."""
        values = {name: getattr(self, name) for name in self.names()}
        return {
            name: f"{value:%Y-%m-%dT%H:%M:%S}" if isinstance(value, datetime) else value
            for name, value in values.items()
            if value
        }
