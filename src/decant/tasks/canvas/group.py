"""``group``: signatures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from ...faces import io_method, twin_of
from ..ids import uuid
from ..results import GroupResult, ResultBase
from ..results.eager import EagerGroupResult
from .signature import Signature, maybe_signature

if TYPE_CHECKING:
    from ..extension import Tasks

__all__ = ["group"]


class group(Signature):
    """Signatures that run side by side: ``await group(add.s(i, i) for i in range(10))()``.

    Its result is a :class:`~decant.tasks.results.GroupResult`. All of its jobs are accepted at once, or none.
    """

    KIND = "group"

    def __init__(self, *tasks: Any, app: Tasks | None = None, **options: Any) -> None:
        given: Any = tasks[0] if len(tasks) == 1 else tasks
        if isinstance(given, group):
            given = given.tasks
        elif isinstance(given, dict):
            given = [given]
        elif len(tasks) == 1 and not isinstance(given, Iterable):
            given = tasks
        members = [maybe_signature(twin_of(one), app).clone() for one in given]
        super().__init__("decant.group", (), {"tasks": members}, options, app=app)

    @property
    def tasks(self) -> list[Signature]:
        """The signatures."""
        return self.kwargs["tasks"]  # type: ignore[no-any-return]

    def parts(self) -> list[Signature]:
        return self.tasks

    def _adopt(self, app: Tasks | None) -> None:
        self.kwargs["tasks"] = [maybe_signature(one, app) for one in self.kwargs["tasks"]]

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __copy__(self) -> Any:
        made = super().__copy__()
        made.kwargs["tasks"] = [one.clone() for one in self.tasks]
        return made

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        made = copy(self)
        made["options"] = {**made.options, **options}
        given = tuple(args)
        if given or kwargs:
            made.kwargs["tasks"] = [one.clone(given, kwargs) for one in made.tasks]
        return made

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Begin them one after another: countdowns from ``start`` by ``step`` seconds, at most ``stop``."""
        seconds = start
        for one in self.tasks:
            one.set(countdown=seconds)
            seconds = seconds + step if stop is None else min(seconds + step, stop)
        return self

    def link(self, callback: Any) -> Any:
        """As in Celery: call ``callback`` with the result of the first one. For all of them, make a chord."""
        if self.tasks:
            self.tasks[0].link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Call ``errback`` for each that fails."""
        for one in self.tasks:
            one.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        super().set_immutable(immutable)
        for one in self.tasks:
            one.set_immutable(immutable)

    def freeze(self, _id: str | None = None, group_id: Any = None, chord: Any = None, **_: Any) -> ResultBase:
        """Settle the ids; returns the group's result."""
        if _id is not None:
            self.options["task_id"] = _id
        self.options.setdefault("task_id", uuid())
        return GroupResult(self.options["task_id"], [one.freeze() for one in self.tasks], app=self.app)

    @io_method
    async def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run them here and now, one after another."""
        results = [await one.apply(args, kwargs, **options) for one in self.tasks]
        return EagerGroupResult(self.id, results, app=self.app)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """:meth:`apply_async`."""
        return self.apply_async(args, **options)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        return f"group([{', '.join(map(repr, self.tasks))}])"
