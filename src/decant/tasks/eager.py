"""Running a task on the spot: ``apply``, and ``task_always_eager``."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final

from ..bridge import bridged, in_thread
from ..faces import called
from . import signals, states
from .codec import decode, encode
from .errors import Ignore, Reject, Retry
from .progress import Replaced
from .request import Context, current_request, pushed
from .results import EagerResult

__all__ = ["apply"]

logger = logging.getLogger("decant.tasks")
_FAILED: Final = frozenset({states.FAILURE, states.REVOKED, states.RETRY})


@dataclass(slots=True)
class _End:
    """How a try ended."""

    state: str
    value: Any
    error: BaseException | None = None

    @property
    def einfo(self) -> str | None:
        return None if self.error is None else "".join(traceback.format_exception(self.error))


async def apply(
    task: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    link: Any,
    link_error: Any,
    task_id: str,
    retries: int,
    throw: bool | None,
    options: Mapping[str, Any],
) -> Any:
    """See :meth:`~decant.tasks.Task.apply`.

    Arguments and result are encoded and decoded, so that what could not be handed to a worker fails here too.
    """
    from .canvas.signature import plain_list

    callbacks, failed = plain_list(link), plain_list(link_error)
    propagates = task.app.conf.task_eager_propagates if throw is None else throw
    parent = current_request()
    while True:
        plain = decode(encode(task.to_plain(args, kwargs)))
        context = Context(
            id=str(task_id),
            task=task.name,
            parent_id=parent.id,
            root_id=parent.root_id or parent.id or str(task_id),
            args=list(plain[0]),
            kwargs=plain[1],
            retries=retries,
            attempt=retries + 1,
            called_directly=False,
            is_eager=True,
            callbacks=callbacks,
            errbacks=failed,
            headers=dict(options.get("headers") or {}),
            ignore_result=bool(options.get("ignore_result")),
            delivery_info={"is_eager": True, "routing_key": options.get("queue"), "priority": options.get("priority")},
        )
        with pushed(task, context):
            end = await _try(task, context)
        if isinstance(end.error, Replaced):
            return await end.error.sig.apply(task_id=task_id)
        if not isinstance(end.error, Retry):
            break
        retries += 1
        if end.error.sig is not None:
            args, kwargs = tuple(end.error.sig["args"]), end.error.sig["kwargs"]
    return await _ended(task, context, end, propagates)


async def _ended(task: Any, context: Context, end: _End, propagates: bool) -> EagerResult:
    if propagates and end.error is not None and end.state in _FAILED:
        raise end.error
    children = []
    if end.state == states.SUCCESS:
        children = [await _follow(task, one, end.value) for one in context.callbacks]
    elif end.state == states.FAILURE:
        children = [await _follow(task, one, context.id) for one in context.errbacks]
    result = EagerResult(
        context.id or "", end.value, end.state, end.einfo, task.name, children, context.args, context.kwargs,
        context.retries,
    )  # fmt: skip
    if task.app.conf.task_store_eager_result and not context.ignore_result:
        await _store(task, context, end)
    return result


async def _follow(task: Any, given: Any, value: Any) -> Any:
    from .canvas.signature import maybe_signature

    return await maybe_signature(given, task.app).apply((value,))


async def _try(task: Any, context: Context) -> _End:
    """One try, with hooks and signals as a worker's."""
    identity, args, kwargs = context.id, context.args, context.kwargs
    await signals.task_prerun.send(sender=task, task_id=identity, task=task, args=args, kwargs=kwargs)
    await _hook(task, "before_start", identity, args, kwargs)
    try:
        value = await _run(task, *task.adapt(args, kwargs))
        end = _End(states.SUCCESS, decode(encode(value)))
    except Exception as error:
        end = _failure(task, task.retried(error))
    if end.state == states.SUCCESS:
        await _hook(task, "on_success", end.value, identity, args, kwargs)
        await signals.task_success.send(sender=task, result=end.value)
    elif end.state == states.RETRY:
        reason = getattr(end.error, "exc", None) or end.error
        await _hook(task, "on_retry", reason, identity, args, kwargs, end.einfo)
        await signals.task_retry.send(sender=task, request=context, reason=reason, einfo=end.einfo)
    elif end.state == states.FAILURE:
        await _hook(task, "on_failure", end.error, identity, args, kwargs, end.einfo)
        await signals.task_failure.send(
            sender=task, task_id=identity, exception=end.error, args=args, kwargs=kwargs,
            traceback=end.error.__traceback__ if end.error else None, einfo=end.einfo,
        )  # fmt: skip
    await _hook(task, "after_return", end.state, end.value, identity, args, kwargs, end.einfo)
    await signals.task_postrun.send(
        sender=task, task_id=identity, task=task, args=args, kwargs=kwargs, retval=end.value, state=end.state
    )
    return end


def _failure(task: Any, error: BaseException) -> _End:
    if isinstance(error, Retry):
        return _End(states.RETRY, error, error)
    if isinstance(error, Ignore):
        return _End(states.IGNORED, None, error)
    if isinstance(error, Reject):
        return _End(states.REJECTED, None, error)
    if not isinstance(error, task.options.throws):
        logger.error("the task %s failed", task.name, exc_info=error)
    return _End(states.FAILURE, error, error)


async def _run(task: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if task.kind == "async":
        return await bridged(task.entry(*args, **kwargs))
    value = await in_thread(task.entry, *args, **kwargs)
    return await value if isawaitable(value) else value


async def _hook(task: Any, name: str, *args: Any) -> None:
    method = getattr(task, name)
    if getattr(method, "__module__", None) == "decant.tasks.task":  # nobody has overridden it
        return
    try:
        await (method(*args) if iscoroutinefunction(method) else called(in_thread, method, *args))
    except Exception:
        logger.exception("%s of the task %s failed", name, task.name)


async def _store(task: Any, context: Context, end: _End) -> None:
    """``task_store_eager_result``: the record is in Redis, as that of a job that is not durable."""
    from .codec import encode_error
    from .ids import as_uuid
    from .job import Claimed

    job = Claimed(id=as_uuid(context.id), task=task.name, queue="", payload=b"", durable=False, retries=context.retries)
    result = encode(end.value) if end.state == states.SUCCESS else None
    error = None if end.error is None else encode_error(end.error)
    await task.app.runtime().keep(job, end.state, result=result, error=error)
