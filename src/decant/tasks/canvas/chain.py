"""``chain``: signatures one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from ...faces import io_method, twin_of
from ..asking import of_the_caller
from ..results import ResultBase
from .signature import Signature, maybe_signature, options_of

if TYPE_CHECKING:
    from ..extension import Tasks

__all__ = ["chain", "first_of"]


class chain(Signature):
    """Signatures one after another; each but the first is called with the result of the one before it.

    ``chain(a, b, c)`` and ``a | b | c`` are the same. A group before another signature becomes the header of a chord.
    Its result is that of the last, whose ``parent`` is that of the one before, and so on.
    """

    KIND = "chain"

    def __init__(self, *tasks: Any, app: Tasks | None = None, **options: Any) -> None:
        given = tasks[0] if len(tasks) == 1 and not isinstance(tasks[0], dict) else tasks
        steps: list[Signature] = []
        for one in given:
            _append(steps, maybe_signature(twin_of(one), app))
        super().__init__("decant.chain", (), {"tasks": steps}, options, app=app)

    @property
    def tasks(self) -> list[Signature]:
        """The signatures, the first one first."""
        return self.kwargs["tasks"]  # type: ignore[no-any-return]

    def parts(self) -> list[Signature]:
        return self.tasks

    def simplified(self) -> Signature:
        if len(self.tasks) == 1:
            only = self.tasks[0]
            return only.set(**self.options) if self.options else only
        return self

    def _adopt(self, app: Tasks | None) -> None:
        self.kwargs["tasks"] = [maybe_signature(one, app) for one in self.kwargs["tasks"]]

    def __copy__(self) -> Any:
        made = super().__copy__()
        made.kwargs["tasks"] = [one.clone() for one in self.tasks]
        return made

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        made = copy(self)
        made["options"] = options_of({**self.options, **options})
        if made.tasks and (args or kwargs):
            made.tasks[0] = made.tasks[0].clone(args, kwargs)
        return made

    def unchain_tasks(self) -> list[Signature]:
        """Copies of the signatures, with the errbacks of the chain."""
        steps = [one.clone() for one in self.tasks]
        for step in steps:
            step.link_error(self.options.get("link_error") or [])
        return steps

    def set_immutable(self, immutable: bool) -> None:
        super().set_immutable(immutable)
        self.tasks[0].set_immutable(immutable)

    def freeze(self, _id: str | None = None, group_id: Any = None, chord: Any = None, **_: Any) -> ResultBase:
        """Settle the ids; returns the last one's result."""
        before: ResultBase | None = None
        for index, step in enumerate(self.tasks):
            result = step.freeze(_id if index == len(self.tasks) - 1 else None)
            first_of(result).parent = before
            before = result
        assert before is not None
        return before

    @io_method
    @of_the_caller
    async def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Ask for the first job; the others follow. ``None`` for an empty chain."""
        if not self.tasks:
            return None
        return await super().apply_async(args, kwargs, **options)

    @io_method
    async def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run them here and now."""
        result: Any = None
        given: Any = tuple(args)
        made = self.clone(**options)
        for step in made.unchain_tasks():
            before, result = result, await step.apply(given, kwargs if result is None else None)
            first_of(result).parent = before
            if await result.state != "SUCCESS" and not hasattr(result, "results"):
                return result
            given = (await result.get(),)
        for callback in made.options.get("link") or ():
            await maybe_signature(callback, self._app).apply(given)
        return result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """:meth:`apply_async`."""
        return self.apply_async(args, kwargs)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        return " | ".join(map(repr, self.tasks)) or "chain()"


def first_of(result: Any) -> Any:
    """The result at the beginning of what led to it."""
    while result.parent is not None:
        result = result.parent
    return result


def _append(steps: list[Signature], step: Signature) -> None:
    """Add a step; groups and chords take what follows them into their body."""
    from .chord import chord

    if isinstance(step, chain):
        for one in step.unchain_tasks():
            _append(steps, one)
        if steps:
            steps[-1]._listed("link", step.options.get("link") or [])
        return
    last = steps[-1] if steps else None
    if last is not None and last.KIND == "group":
        steps[-1] = chord(last, step, app=last._app)
    elif isinstance(last, chord) and last.body is not None:
        steps[-1] = extended = last.clone()
        extended.kwargs["body"] = chain(last.body, step, app=last._app)
    else:
        steps.append(step.clone())
