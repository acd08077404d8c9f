"""Results as tuples, and groups that are kept in Redis for a while."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ..codec import decode, encode
from ..ids import as_uuid
from .reading import members

__all__ = ["delete", "from_tuple", "restore", "save"]


def _key(tasks: Any, group: str) -> str:
    return f"{tasks.conf.prefix}:group:{group}"


async def save(tasks: Any, group: str, form: tuple[Any, Any]) -> None:
    """Keep a group's form for as long as results are kept.

    :raises RedisUnavailable: if it cannot be kept.
    """
    expires_s = tasks.conf.result_expires_s
    await tasks.runtime().redis.set(_key(tasks, group), encode(form), ex=int(expires_s) if expires_s else None)


async def delete(tasks: Any, group: str) -> None:
    """Keep it no more."""
    await tasks.runtime().redis.delete(_key(tasks, group))


async def restore(tasks: Any, group: str) -> Any:
    """The group; of the jobs that say they belong to it, if it was not kept; ``None`` if there are none."""
    from .asyncresult import AsyncResult
    from .groupresult import GroupResult

    data = await tasks.runtime().redis.get(_key(tasks, group))
    if data is not None:
        return from_tuple(decode(data), tasks)
    records = await members(tasks, as_uuid(group))
    if not records:
        return None
    return GroupResult(group, [AsyncResult(one.id, None, one.task, tasks) for one in records], app=tasks)


def from_tuple(form: Any, tasks: Any) -> Any:
    """The result for ``as_tuple``'s form; also for a bare id."""
    from .asyncresult import AsyncResult
    from .groupresult import GroupResult

    if isinstance(form, str | UUID):
        return AsyncResult(form, app=tasks)
    (identity, before), members = form
    parent = None if before is None else from_tuple(before, tasks)
    if members is None:
        return AsyncResult(identity, app=tasks, parent=parent)
    return GroupResult(identity, [from_tuple(one, tasks) for one in members], parent, tasks)
