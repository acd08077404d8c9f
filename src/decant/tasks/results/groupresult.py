"""The results of several jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from ...faces import called, io_method, io_property
from .. import states
from ..ids import as_uuid, uuid
from . import saved
from .asyncresult import AsyncResult
from .base import ResultBase
from .reading import Meta, ended, read

__all__ = ["GroupResult", "ResultSet"]


class ResultSet(ResultBase):
    """Celery's ``ResultSet``: results that are waited for together, in the order in which they are kept.

    :param results: :class:`AsyncResult`, or groups of them.
    """

    def __init__(self, results: Iterable[ResultBase] = (), app: Any = None, **_: Any) -> None:
        self.results: list[Any] = list(results)
        if app is None:
            app = next((one.app for one in self.nodes() if isinstance(one, AsyncResult)), None)
        if app is None:
            from ..shared import current_tasks

            app = current_tasks()
        self.app = app

    def nodes(self) -> list[ResultBase]:
        """The results of single jobs, those of groups within it too."""
        return [node for one in self.results for node in one.nodes()]

    def _ids(self) -> list[UUID]:
        return [as_uuid(one.id) for one in self.nodes()]

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultSet) and other.results == self.results

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(map(str, self.nodes()))}]>"

    # -- changing --------------------------------------------------------------------------------------------------

    def add(self, result: ResultBase) -> None:
        """Add one, if it is not there."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: ResultBase | str) -> None:
        """Take one out, by itself or its id.

        :raises KeyError: if it is not there.
        """
        wanted = getattr(result, "id", result)
        left = [one for one in self.results if one.id != wanted]
        if len(left) == len(self.results):
            raise KeyError(wanted)
        self.results = left

    def discard(self, result: ResultBase | str) -> None:
        """Take one out, if it is there."""
        wanted = getattr(result, "id", result)
        self.results = [one for one in self.results if one.id != wanted]

    def update(self, results: Iterable[ResultBase]) -> None:
        """Add several."""
        for one in results:
            self.add(one)

    def clear(self) -> None:
        """Take all out."""
        self.results = []

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def _iterate(self, timeout: float | None, propagate: bool) -> AsyncGenerator[Meta, None]:
        before = [one for parent in self.ancestors() for one in parent.nodes()]
        own = self._ids()
        ids = dict.fromkeys([*own, *(as_uuid(one.id) for one in before)])
        left = set(own)
        if not left:
            return
        async with aclosing(ended(self.app, list(ids), timeout)) as metas:
            async for meta in metas:
                error = meta.raised()
                if error is not None and propagate:
                    raise error
                if meta.id in left:
                    left.remove(meta.id)
                    yield meta
                if not left:
                    return

    @io_method
    async def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        **_: Any,
    ) -> list[Any]:
        """The values of all, in order; the first failure is raised as soon as it happens.

        :param timeout: seconds for all of them together.
        :param propagate: without it exceptions are in the list.
        :param callback: called with each id and value, as they end.
        :raises TimeoutError: if they have not all ended by then.
        """
        values: dict[UUID, Any] = {}
        async with aclosing(self._iterate(timeout, propagate)) as metas:
            async for meta in metas:
                values[meta.id] = meta.result
                if callback is not None:
                    await called(callback, str(meta.id), meta.result)
        return _nested(self, values)

    @io_method
    async def join(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """As :meth:`get`."""
        return await self.get(timeout, propagate, **options)

    @io_method
    async def join_native(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """As :meth:`get`."""
        return await self.get(timeout, propagate, **options)

    async def iterate(self, timeout: float | None = None, propagate: bool = True) -> AsyncGenerator[Any, None]:
        """The values as they come, in no order: ``async for value in r.iterate()``."""
        async with aclosing(self._iterate(timeout, propagate)) as metas:
            async for meta in metas:
                yield meta.result

    async def iter_native(
        self, timeout: float | None = None, **_: Any
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """Pairs of id and ``{"status", "result"}``, as they come."""
        async with aclosing(self._iterate(timeout, propagate=False)) as metas:
            async for meta in metas:
                yield str(meta.id), {"status": meta.state, "result": meta.result}

    @io_method
    async def then(self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None) -> ResultSet:
        """Wait for all, and call ``callback(self)``; ``on_error(self)`` instead if one failed."""
        metas = [meta async for meta in self._iterate(None, propagate=False)]
        function = callback if all(meta.raised() is None for meta in metas) else on_error
        if function is not None:
            await called(function, self)
        return self

    # -- asking ----------------------------------------------------------------------------------------------------

    async def _states(self) -> list[str]:
        return [meta.state for meta in (await read(self.app, self._ids())).values()]

    @io_method
    async def ready(self) -> bool:
        """Whether all have ended."""
        return all(one in states.READY_STATES for one in await self._states())

    @io_method
    async def successful(self) -> bool:
        """Whether all have ended well."""
        return all(one == states.SUCCESS for one in await self._states())

    @io_method
    async def failed(self) -> bool:
        """Whether any has failed."""
        return states.FAILURE in await self._states()

    @io_method
    async def waiting(self) -> bool:
        """Whether any has not ended."""
        return not await self.ready()

    @io_method
    async def completed_count(self) -> int:
        """How many have ended well."""
        return (await self._states()).count(states.SUCCESS)

    @io_method
    async def maybe_throw(self, propagate: bool = True, callback: Any = None) -> None:
        """Raise the failure of one that has failed, if any has."""
        for meta in (await read(self.app, self._ids())).values():
            error = meta.raised()
            if error is not None and propagate:
                raise error

    # -- telling ---------------------------------------------------------------------------------------------------

    @io_method
    async def revoke(self, connection: Any = None, terminate: bool = False, signal: Any = None, **_: Any) -> None:
        """Revoke all, as :meth:`AsyncResult.revoke`."""
        await self.app.runtime().revoke(self._ids(), terminate=terminate, signal=signal)

    @io_method
    async def forget(self) -> None:
        """Delete the records of those that have ended."""
        await self.app.runtime().forget(self._ids())


class GroupResult(ResultSet):
    """Celery's ``GroupResult``: what a group came to."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002
        results: Iterable[ResultBase] = (),
        parent: ResultBase | None = None,
        app: Any = None,
        **_: Any,
    ) -> None:
        self.id, self.parent = id or uuid(), parent
        super().__init__(results, app)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupResult) and other.id == self.id and other.results == self.results

    def __hash__(self) -> int:
        return hash(self.id)

    @io_property
    async def children(self) -> list[Any]:
        """The results."""
        return self.results

    @io_method
    async def save(self, backend: Any = None) -> None:
        """Keep it, as long as results are kept, for :meth:`restore` with its ``id``."""
        await saved.save(self.app, self.id, self.as_tuple())

    @io_method
    async def delete(self, backend: Any = None) -> None:
        """Keep it no more; the jobs are not touched."""
        await saved.delete(self.app, self.id)

    @classmethod
    @io_method
    async def restore(cls, id: str, backend: Any = None, app: Any = None) -> GroupResult | None:  # noqa: A002
        """A saved one; if it was not saved, one of the jobs that belong to the group, if there are any."""
        if app is None:
            from ..shared import current_tasks

            app = current_tasks()
        found: GroupResult | None = await saved.restore(app, id)
        return found


def _nested(results: ResultSet, values: dict[UUID, Any]) -> list[Any]:
    return [_nested(one, values) if isinstance(one, ResultSet) else values[as_uuid(one.id)] for one in results.results]
