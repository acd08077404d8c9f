"""What a job does to its own record while it runs: ``update_state`` and ``replace``."""

from __future__ import annotations

from typing import Any

from .codec import encode
from .errors import Ignore, PayloadTooLarge
from .ids import as_uuid
from .publishing import origin
from .results.reading import successor

__all__ = ["replace", "update"]


async def update(task: Any, task_id: str | None, state: str | None, meta: Any) -> bool:
    """See :meth:`~decant.tasks.Task.update_state`."""
    request = task.request
    if task_id is not None and (request.id is None or as_uuid(task_id) != as_uuid(request.id)):
        raise ValueError(f"only the job that runs here can be updated ({request.id}), not {task_id}")
    size, limit = len(encode(meta)), task.app.conf.limit_bytes  # what cannot be handed over fails here, not later
    if size > limit:
        raise PayloadTooLarge(
            f"the meta of update_state takes {size:,} bytes, more than the {limit:,} that TASKS_MAX_ARGUMENTS_KB"
            " allows: store what is large, and say where it is"
        )
    if request.progress is None:
        return False
    request.progress.set(state or "PROGRESS", meta)
    return True


async def replace(task: Any, sig: Any) -> Any:
    """See :meth:`~decant.tasks.Task.replace`."""
    from .canvas.following import replacement

    request = task.request
    if request.called_directly:
        raise ValueError(f"{task.name} was called directly: there is no job that could be replaced")
    if request.is_eager:
        chained = sig.clone()
        for callback in request.callbacks:
            chained.link(callback)
        raise Replaced(chained)
    jobs, groups, last = replacement(task.app, request, sig, origin())
    end = Ignore(f"replaced by {last}")
    end.jobs, end.groups, end.result = jobs, groups, encode(successor(last))
    raise end


class Replaced(Ignore):
    """Without a worker: the signature to go on with."""

    def __init__(self, sig: Any) -> None:
        self.sig = sig
        super().__init__(f"replaced by {sig!r}")
