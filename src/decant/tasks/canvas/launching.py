"""From a signature to the jobs with which it begins; the others are in their payloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..codec import encode
from ..errors import InvalidTaskError, PayloadTooLarge
from ..ids import as_uuid, uuid
from ..job import Group, Job
from ..publishing import Origin, build, origin, submit
from ..results import ResultBase
from .chain import chain
from .chord import chord
from .group import group
from .plain import plain
from .signature import Signature

if TYPE_CHECKING:
    from ..extension import Tasks
    from ..settings import Conf

__all__ = ["GATHER", "Plan", "launch"]

GATHER = "decant.gather"
"""The task that returns what it is given: the body of a chord whose body is a group."""
_Member = tuple[Any, int]
_OF_THE_END = ("link", "group_id", "group_index")
_OF_ALL = ("link_error",)
_NO_LEDGER = (
    "a chord (also a group before another task) counts its header's jobs in the ledger, which TASKS_DURABLE=False"
    " switches off, and which a Celery application has with TASKS_DATABASE_URL: set that, or wait for the group's"
    " results, and ask for what follows then"
)


async def launch(tasks: Tasks, sig: Signature) -> ResultBase:
    """Ask for the jobs of a signature, all at once; returns the result of the last."""
    result = sig.freeze(sig.options.get("task_id"))
    plan = Plan(tasks, origin(), check=True)
    plan.add(sig)
    await submit(tasks, plan.jobs, plan.groups)
    return result


class Plan:
    """Jobs and groups to be inserted together.

    :param where: the job that asks for them.
    :param check: whether the arguments of the first tasks are checked, as ``delay`` does.
    """

    def __init__(self, tasks: Tasks, where: Origin, *, check: bool = False, conf: Conf | None = None) -> None:
        self.tasks, self.where, self.check, self.conf = tasks, where, check, conf
        self.jobs: list[Job] = []
        self.groups: list[Group] = []

    def add(self, sig: Signature, args: Iterable[Any] = (), rest: Sequence[Signature] = ()) -> None:
        """Add what ``sig`` begins with, when it is called with ``args``; ``rest`` comes after it."""
        given = tuple(args)
        if isinstance(sig, chain):
            first, *more = _steps(sig)
            self.add(first, given, [*more, *rest])
        elif isinstance(sig, group):
            self._add_group(sig, given, rest)
        elif isinstance(sig, chord):
            self._add_chord(sig, given, rest)
        elif sig.KIND == "chunks":
            self.add(sig.group(), given, rest)  # type: ignore[attr-defined]
        else:
            self.jobs.append(self.job(sig, given, rest))

    def job(self, sig: Signature, args: Iterable[Any], rest: Sequence[Signature] = ()) -> Job:
        """That of a single task."""
        made = plain(sig.clone(args))
        options = {**made["options"], "chain": [plain(one, shifted=True) for one in rest]}
        task = self.tasks.tasks.get(sig.task)
        if task is not None:
            options.setdefault("ignore_result", task.options.ignore_result)
            if self.check:
                task.check_arguments(made["args"], made["kwargs"])
        return build(self.tasks, sig.task, made["args"], made["kwargs"], options, self.where, conf=self.conf)

    # -- groups ------------------------------------------------------------------------------------------------------

    def _add_group(self, sig: group, args: tuple[Any, ...], rest: Sequence[Signature]) -> None:
        if rest:
            self._add_chord(chord(sig, rest[0], app=sig._app), args, rest[1:])
            return
        options = dict(sig.options)
        own = options.pop("task_id", None) or uuid()
        outer, index = options.pop("group_id", None), options.pop("group_index", 0)
        link = options.pop("link", None)
        members = [one.clone() for one in sig.tasks]
        if link and members:
            members[0].link(link)
        self._add_members(members, (outer or own, index), args, options)

    def _add_members(
        self, members: Sequence[Signature], first: _Member, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        identity, index = first
        for one in members:
            one.set(**{name: value for name, value in options.items() if name not in _OF_ALL})
            one.link_error(options.get("link_error") or [])
            _belong(one, (identity, index))
            self.add(one, args)
            index += leaves(one)

    def _add_chord(self, sig: chord, args: tuple[Any, ...], rest: Sequence[Signature]) -> None:
        body = sig._body().clone()
        for name, value in sig.options.items():
            if name in ("link", "link_error"):
                body._listed(name, value)
            elif name in ("group_id", "group_index"):
                body.options[name] = value
            elif name != "task_id":
                body.options.setdefault(name, value)
        whole = [body, *rest]
        header = sig.header.clone()
        if not header.tasks:
            self.add(whole[0], ([],), whole[1:])
            return
        if not (self.conf or self.tasks.conf).durable:
            raise InvalidTaskError(_NO_LEDGER)
        first, after = _begin(whole, self.tasks)
        identity = header.options.get("task_id") or uuid()
        self.groups.append(self._chord_group(identity, leaves(header), first, after))
        options = {name: value for name, value in header.options.items() if name not in ("task_id", *_OF_THE_END)}
        options["durable"] = True
        self._add_members(header.tasks, (identity, 0), args, options)

    def _chord_group(self, identity: str, total: int, first: Signature, after: Sequence[Signature]) -> Group:
        callback_id = as_uuid(first.options.setdefault("task_id", uuid()))
        first.options["durable"] = True
        callback = encode(
            {
                "sig": plain(first, shifted=True),
                "chain": [plain(one, shifted=True) for one in after],
                "root": self.where.root,
                "request_id": self.where.request_id,
            }
        )
        limit = (self.conf or self.tasks.conf).limit_bytes
        if len(callback) > limit:
            raise PayloadTooLarge(f"the body of a chord takes {len(callback):,} bytes, more than {limit:,}")
        return Group(id=as_uuid(identity), total=total, callback=callback, callback_id=callback_id)


def _begin(steps: Sequence[Signature], tasks: Tasks) -> tuple[Signature, list[Signature]]:
    """The single task with which steps begin, and what comes after it."""
    first, rest = steps[0], list(steps[1:])
    while isinstance(first, chain):
        first, *more = _steps(first)
        rest = [*more, *rest]
    if first.KIND in ("group", "chord", "chunks"):
        return Signature(GATHER, app=tasks), [first, *rest]
    return first, rest


def _steps(sig: chain) -> list[Signature]:
    """The steps of a chain, with what it says itself: of its first, its last, or all of them."""
    steps = sig.unchain_tasks()
    options = {name: value for name, value in sig.options.items() if name not in (*_OF_ALL, "task_id")}
    steps[-1].link(options.pop("link", None) or [])
    if options.get("group_id") is not None:
        _belong(steps[-1], (options["group_id"], options.get("group_index", 0)))
    steps[0].set(**{name: value for name, value in options.items() if name not in _OF_THE_END})
    if options.get("durable") is not None:
        for step in steps:
            step.options["durable"] = options["durable"]
    return steps


def _belong(sig: Signature, member: _Member) -> None:
    sig.options["group_id"], sig.options["group_index"] = member


def leaves(sig: Signature) -> int:
    """How many jobs a group has to wait for until a signature within it has ended."""
    if isinstance(sig, chain):
        return leaves(sig.tasks[-1])
    if isinstance(sig, group):
        return sum(map(leaves, sig.tasks))
    if isinstance(sig, chord):
        return leaves(sig._body())
    return leaves(sig.group()) if sig.KIND == "chunks" else 1  # type: ignore[attr-defined]
