"""Records of jobs as results show them, and waiting until they have ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from time import monotonic
from typing import Any, Final
from uuid import UUID

from .. import errors, states
from ..codec import Envelope, ErrorInfo, decode, decode_envelope, decode_error
from ..errors import TaskRevokedError

__all__ = ["Meta", "children", "ended", "members", "read", "successor"]

_SUCCESSOR: Final = "decant.successor"
_FOLLOWED: Final = 100

_REREAD_S: Final = 5.0
"""How often the ledger is asked although nothing was told: messages may be lost."""


@dataclass(frozen=True)
class Meta:
    """One record, decoded as far as it is asked for; ``record`` is ``None`` for an id that nobody knows."""

    id: UUID
    record: Any
    known: tuple[type[BaseException], ...] = ()
    target: UUID | None = None
    """The id of the record: another one, if the job was replaced."""

    @property
    def state(self) -> str:
        """As users see it: what ``update_state`` said, while the job runs."""
        return states.PENDING if self.record is None else str(self.record.shown_state)

    @property
    def ready(self) -> bool:
        return self.record is not None and self.record.state in states.READY_STATES

    @cached_property
    def error(self) -> ErrorInfo | None:
        """How it failed, the last time."""
        data = None if self.record is None else self.record.error
        return None if data is None else decode_error(data, self.known)

    @property
    def result(self) -> Any:
        """Celery's: the value, or the exception, or what ``update_state`` was given, or ``None``."""
        record = self.record
        if record is None or record.state == states.PENDING:
            return None
        if record.state == states.STARTED:
            return decode(record.progress) if record.progress is not None else None
        if record.state == states.REVOKED:
            return TaskRevokedError(self.error.message if self.error else "revoked")
        if record.state in (states.FAILURE, states.RETRY, states.REJECTED):
            return self.error.exception if self.error else None
        return decode(record.result) if record.result is not None else None

    @property
    def traceback(self) -> str | None:
        return self.error.traceback or None if self.error is not None else None

    @property
    def finished(self) -> datetime | None:
        return None if self.record is None else self.record.finished

    @cached_property
    def envelope(self) -> Envelope:
        return Envelope() if self.record is None or not self.record.payload else decode_envelope(self.record.payload)

    def raised(self) -> BaseException | None:
        """What ``get()`` raises for it, if it does."""
        if self.ready and self.record.state in states.PROPAGATE_STATES:
            found = self.result
            return found if isinstance(found, BaseException) else TaskRevokedError("the job failed")
        return None


def successor(id: UUID) -> dict[str, UUID]:  # noqa: A002
    """What is kept as the result of a job that was replaced."""
    return {_SUCCESSOR: id}


async def read(tasks: Any, ids: Collection[UUID]) -> dict[UUID, Meta]:
    """All of them, those too that nobody knows; of one that was replaced, that which has replaced it."""
    targets = {one: one for one in ids}
    found: dict[UUID, Meta] = {}
    for _ in range(_FOLLOWED):
        records = await tasks.runtime().records(list(targets.values()))
        replaced = {}
        for one, target in targets.items():
            record = records.get(target)
            next_one = _replaced_by(record)
            if next_one is None:
                found[one] = Meta(one, record, _known(tasks, record), target)
            else:
                replaced[one] = next_one
        targets = replaced
        if not targets:
            break
    return found


def _replaced_by(record: Any) -> UUID | None:
    if record is None or record.state != states.IGNORED or record.result is None:
        return None
    value = decode(record.result)
    return value.get(_SUCCESSOR) if isinstance(value, dict) else None


def _known(tasks: Any, record: Any) -> tuple[type[BaseException], ...]:
    task = None if record is None else tasks.registry.get(record.task)
    return () if task is None else (*task.options.throws, *task.options.autoretry_for)


async def ended(tasks: Any, ids: Collection[UUID], timeout_s: float | None = None) -> AsyncGenerator[Meta, None]:
    """Each as it ends.

    Subscribes first, then reads, then waits to be told, so nothing can happen in between unseen. What was not told
    is found every 5 s, and at once after Redis was away; without Redis the ledger is asked each second.

    :raises TimeoutError: if not all have ended within ``timeout_s``.
    """
    waiting = {one: one for one in ids}
    deadline = None if timeout_s is None else monotonic() + timeout_s
    while waiting:
        targets = list(waiting.values())
        async with tasks.runtime().listener.subscribed(targets) as messages:
            while waiting and list(waiting.values()) == targets:
                for meta in (await read(tasks, list(waiting))).values():
                    if meta.ready:
                        del waiting[meta.id]
                        yield meta
                    else:
                        waiting[meta.id] = meta.target or meta.id
                targets = [one for one in targets if one in waiting.values()]
                if waiting and list(waiting.values()) == targets:
                    if deadline is not None and monotonic() >= deadline:
                        raise errors.TimeoutError(_late(len(ids), list(waiting), timeout_s))
                    await _told(messages, targets, deadline)


def _late(count: int, waiting: list[UUID], timeout_s: float | None) -> str:
    if count == 1:
        return f"the job {waiting[0]} had not ended within {timeout_s} s"
    return f"{len(waiting)} of {count} jobs had not ended within {timeout_s} s: {', '.join(map(str, waiting[:3]))}"


async def _told(messages: Any, targets: Collection[UUID], deadline: float | None) -> None:
    """Return when there may be something new."""
    again = monotonic() + _REREAD_S
    while (now := monotonic()) < again:
        left = again - now if deadline is None else min(again, deadline) - now
        if left <= 0:
            return
        message = await messages.next(left)
        if message is None or (message[1].get("state") in states.READY_STATES and message[0] in targets):
            return


async def children(tasks: Any, parent: UUID) -> list[Any]:
    """The records of the jobs that a job has asked for; those in Redis alone are not known."""
    ledger = tasks.runtime().ledger
    return [] if ledger is None else list(await ledger.children(parent))


async def members(tasks: Any, group: UUID) -> list[Any]:
    """The records of the jobs of a group, in its order."""
    ledger = tasks.runtime().ledger
    return [] if ledger is None else list(await ledger.read_group(group))
