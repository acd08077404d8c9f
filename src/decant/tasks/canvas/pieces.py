"""``chunks``, ``xmap`` and ``xstarmap``: many calls in one job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ...faces import io_method
from ..asking import of_the_caller
from ..results import ResultBase
from .group import group
from .signature import Signature, maybe_signature

if TYPE_CHECKING:
    from ..extension import Tasks

__all__ = ["MAP", "STARMAP", "chunks", "xmap", "xstarmap"]

MAP, STARMAP = "decant.map", "decant.starmap"


def _items(sig: Signature, it: Iterable[Any], starred: bool) -> list[Any]:
    """The items as arguments are handed over: enumerations and dataclasses as what they are made of."""
    task = None if sig._app is None else sig._app.tasks.get(sig.task)
    if task is None:
        return list(it)
    if starred:
        return [task.to_plain(tuple(one), {})[0] for one in it]
    return [task.to_plain((one,), {})[0][0] for one in it]


class _Mapped(Signature):
    TASK, STARRED = "", False

    def __init__(self, task: Any, it: Iterable[Any], app: Tasks | None = None, **options: Any) -> None:
        sig = maybe_signature(task, app)
        given = {"task": sig, "it": _items(sig, it, self.STARRED)}
        super().__init__(self.TASK, (), given, options, immutable=True, app=app or sig._app)

    def parts(self) -> list[Signature]:
        return [self.kwargs["task"]]

    def _adopt(self, app: Tasks | None) -> None:
        self.kwargs["task"] = maybe_signature(self.kwargs["task"], app)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """:meth:`apply_async`."""
        return self.apply_async(args, kwargs)


class xmap(_Mapped):
    """``task.map(items)``: a job that calls the task with each item; its result is the list of results."""

    KIND, TASK = "xmap", MAP

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        return f"[{self.kwargs['task'].task}(x) for x in {self.kwargs['it']!r:.100}]"


class xstarmap(_Mapped):
    """``task.starmap(items)``: a job that calls the task with each item's arguments."""

    KIND, TASK, STARRED = "xstarmap", STARMAP, True

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        return f"[{self.kwargs['task'].task}(*x) for x in {self.kwargs['it']!r:.100}]"


class chunks(Signature):
    """``task.chunks(items, n)``: jobs that call the task with the arguments of ``n`` items each."""

    KIND = "chunks"

    def __init__(self, task: Any, it: Iterable[Any], n: int, app: Tasks | None = None, **options: Any) -> None:
        if n < 1:
            raise ValueError(f"n is {n}, but must be at least 1")
        sig = maybe_signature(task, app)
        given = {"task": sig, "it": _items(sig, it, starred=True), "n": n}
        super().__init__("decant.chunks", (), given, options, app=app or sig._app)

    def parts(self) -> list[Signature]:
        return [self.kwargs["task"]]

    def _adopt(self, app: Tasks | None) -> None:
        self.kwargs["task"] = maybe_signature(self.kwargs["task"], app)

    def group(self) -> group:
        """The group of jobs that it is."""
        items, n = self.kwargs["it"], self.kwargs["n"]
        parts = [items[start : start + n] for start in range(0, len(items), n)]
        members = [xstarmap(self.kwargs["task"], part, app=self._app) for part in parts]
        return group(members, app=self._app, **self.options)

    def freeze(self, _id: str | None = None, group_id: Any = None, chord: Any = None, **_: Any) -> ResultBase:
        raise TypeError("freeze the group of the chunks: task.chunks(…).group().freeze()")

    @io_method
    @of_the_caller
    async def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Ask for the jobs; returns a :class:`~decant.tasks.results.GroupResult`."""
        return await self.group().apply_async(args, kwargs, **options)

    @io_method
    async def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now."""
        return await self.group().apply(args, kwargs, **options)

    def __call__(self, **options: Any) -> Any:
        """:meth:`apply_async`."""
        return self.apply_async(**options)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        return f"{self.kwargs['task'].task}.chunks({self.kwargs['it']!r:.100}, {self.kwargs['n']})"
