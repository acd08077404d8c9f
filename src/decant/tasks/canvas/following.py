"""What comes after a job: callbacks, the rest of a chain, the body of a chord, errbacks. All of it as jobs to insert in
the transaction that ends the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...bridge import in_thread
from ...faces import called
from ..codec import Envelope, decode, decode_envelope
from ..ids import as_uuid
from ..job import Group, Job
from ..publishing import Origin
from ..states import FAILURE
from .launching import GATHER, Plan
from .pieces import MAP, STARMAP
from .signature import Signature, maybe_signature

if TYPE_CHECKING:
    from ..extension import Tasks
    from ..settings import Conf

__all__ = ["broken", "builtin_tasks", "children", "errbacks", "group_done", "group_failed", "group_of", "replacement"]


def children(tasks: Tasks, envelope: Envelope, record: Any, result: Any) -> tuple[list[Job], list[Group]]:
    """The jobs, and the chords they begin, that follow a job which has succeeded with ``result``.

    :param record: the job: anything with ``id``, ``root`` and ``request_id``.
    :raises TypeError: if the result cannot be handed over.
    :raises PayloadTooLarge: if it is too large to be handed over.
    """
    if not envelope.link and not envelope.chain:
        return [], []
    plan = Plan(tasks, _origin(record))
    for link in envelope.link:
        plan.add(_signature(tasks, link), (result,))
    if envelope.chain:
        first, *rest = (_signature(tasks, one) for one in envelope.chain)
        plan.add(first, (result,), rest)
    return plan.jobs, plan.groups


def errbacks(tasks: Tasks, envelope: Envelope, record: Any, error: BaseException | None = None) -> list[Job]:
    """The jobs that a failure asks for. Each errback is called with the id of the job that failed, before its own
    arguments unless it is immutable: what Celery calls an errback of the old style. One of the new style, which takes
    the request and the exception as objects, cannot be: it finds both by the id.
    """
    plan = Plan(tasks, _origin(record))
    for one in envelope.link_error:
        _add_errback(plan, one, record.id)
    return plan.jobs


def _add_errback(plan: Plan, given: Mapping[str, Any], failed: UUID) -> None:
    """One of several tasks, as a chord, is begun by a worker: what it counts is inserted where its first job ends."""
    sig = _signature(plan.tasks, given)
    if sig.KIND in ("chain", "group", "chord", "chunks"):
        plan.jobs.append(plan.job(Signature(GATHER, app=plan.tasks), (str(failed),), [sig]))
    else:
        plan.add(sig, (str(failed),))


def group_of(envelope: Envelope) -> UUID | None:
    """The group that fails with a job that has none itself: that of the chain which will not get to its end."""
    for one in reversed(envelope.chain):
        found = one["options"].get("group_id")
        if found is not None:
            return as_uuid(found)
    return None


def broken(tasks: Tasks, conf: Conf, record: Any) -> tuple[list[Job], UUID | None]:
    """What follows from a job that has ended without a worker: the ledger's ``on_broken``."""
    envelope = decode_envelope(record.payload)
    plan = Plan(tasks, _origin(record), conf=conf)
    for one in envelope.link_error if record.state == FAILURE else ():
        _add_errback(plan, one, record.id)
    return plan.jobs, record.group_id or group_of(envelope)


def _origin(record: Any) -> Origin:
    return Origin(record.id, record.root or record.id, record.request_id, record.priority)


def _signature(tasks: Tasks, given: Mapping[str, Any]) -> Signature:
    return Signature.from_dict(given, tasks)


# -- chords ----------------------------------------------------------------------------------------------------------


def group_done(tasks: Tasks, conf: Conf, group: Group, results: Sequence[bytes | None]) -> Job:
    """The body of a chord, called with the results of its header: the ledger's ``on_group_done``."""
    values = [None if one is None else decode(one) for one in results]
    return _body(tasks, conf, group, values)


def group_failed(tasks: Tasks, conf: Conf, group: Group, error: bytes) -> list[Job]:
    """The body, which will not run, and its errbacks: the ledger's ``on_group_failed``."""
    body = _body(tasks, conf, group, [])
    assert group.callback is not None
    plan = Plan(tasks, _origin(body), conf=conf)
    for one in decode(group.callback)["sig"]["options"].get("link_error") or ():
        _add_errback(plan, one, body.id)
    return [body, *plan.jobs]


def _body(tasks: Tasks, conf: Conf, group: Group, values: list[Any]) -> Job:
    assert group.callback is not None
    stored = decode(group.callback)
    plan = Plan(tasks, Origin(None, stored["root"], stored["request_id"]), conf=conf)
    rest = [_signature(tasks, one) for one in stored["chain"]]
    return plan.job(_signature(tasks, stored["sig"]), (values,), rest)


# -- replacing -------------------------------------------------------------------------------------------------------


def replacement(tasks: Tasks, request: Any, sig: Any, where: Origin) -> tuple[list[Job], list[Group], UUID]:
    """The jobs that take the place of one that runs, and the id of the one whose result is its result."""
    made = maybe_signature(sig, tasks).clone()
    if made.KIND in ("group", "chunks"):
        made = made | Signature(GATHER, app=tasks)
    for callback in request.callbacks:
        made.link(callback)
    for errback in request.errbacks:
        made.link_error(errback)
    if request.group is not None:
        made.set(group_id=request.group, group_index=request.group_index)
    last = made.freeze()
    plan = Plan(tasks, where)
    plan.add(made, (), [_signature(tasks, one) for one in request.chain])
    return plan.jobs, plan.groups, as_uuid(last.id)


# -- tasks of our own ------------------------------------------------------------------------------------------------


def builtin_tasks() -> Iterator[tuple[Any, dict[str, Any]]]:
    """The functions and options of the tasks that every ``Tasks`` has."""
    yield _map, {"name": MAP, "bind": True, "typing": False}
    yield _starmap, {"name": STARMAP, "bind": True, "typing": False}
    yield _gather, {"name": GATHER}


async def _gather(values: Any) -> Any:
    """Hand on the results of a chord's header to a body that is a group."""
    return values


async def _map(self: Any, task: Mapping[str, Any], it: Sequence[Any]) -> list[Any]:
    """Call a task's function with each item."""
    return [await _call(self.app, task, (item,)) for item in it]


async def _starmap(self: Any, task: Mapping[str, Any], it: Sequence[Any]) -> list[Any]:
    """Call a task's function with the arguments of each item."""
    return [await _call(self.app, task, tuple(item)) for item in it]


async def _call(tasks: Tasks, given: Mapping[str, Any], args: tuple[Any, ...]) -> Any:
    sig = _signature(tasks, given)
    found = sig.clone(args)
    task = tasks.tasks[sig.task]
    arguments, keywords = task.adapt(found.args, found.kwargs)
    if task.kind == "async":
        return await called(task.run, *arguments, **keywords)
    value = await in_thread(task.run, *arguments, **keywords)
    return await value if isawaitable(value) else value
