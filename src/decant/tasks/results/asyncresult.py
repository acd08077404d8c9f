"""The result of one job."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any
from uuid import UUID

from ...faces import called, io_method, io_property
from .. import states
from ..errors import ChordError
from ..ids import as_uuid
from .base import ResultBase
from .reading import Meta, children, ended, read

__all__ = ["AsyncResult"]


class AsyncResult(ResultBase):
    """Celery's ``AsyncResult``. What does I/O is awaited: ``await r.get()``, and properties too: ``await r.state``.

    What differs: nobody polls, so ``interval`` has no effect; ``get`` may be called within a task, which other jobs of
    the worker go on beside of, but a job that waits for another keeps its place in the worker meanwhile; ``children``
    are those that the job has asked for so far, whether it has ended or not.

    :param id: of the job: text or UUID.
    :param parent: the result of the job before it in a chain.
    """

    def __init__(
        self,
        id: str | UUID,  # noqa: A002
        backend: Any = None,
        task_name: str | None = None,
        app: Any = None,
        parent: ResultBase | None = None,
    ) -> None:
        if app is None:
            from ..shared import current_tasks  # which is above

            app = current_tasks()
        self._uuid = as_uuid(id)
        self.id, self.parent, self.app, self.task_name = str(self._uuid), parent, app, task_name

    @property
    def task_id(self) -> str:
        """``id``."""
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"

    def __reduce__(self) -> Any:
        return _restored, (self.id, self.task_name, self.parent)

    async def _meta(self) -> Meta:
        return (await read(self.app, [self._uuid]))[self._uuid]

    # -- waiting ---------------------------------------------------------------------------------------------------

    @io_method
    async def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[Mapping[str, Any]], Any] | None = None,
        on_interval: Any = None,
        disable_sync_subtasks: bool = True,
    ) -> Any:
        """What the task returned, once it has.

        A failure is raised: exceptions that are built in, those of ``decant.tasks``, and classes that the task names in
        ``throws`` or ``autoretry_for`` as they were, all others as :exc:`~decant.tasks.errors.RemoteError`; the cause
        has the traceback in the worker. If one before it in a chain fails, or one of a chord's header, that is raised.

        :param timeout: seconds; ``None``: for as long as it takes.
        :param propagate: without it the exception is returned.
        :param callback: called with the id and the value.
        :param on_message: called with Celery's dictionary of the job when it has ended.
        :raises TimeoutError: if it has not ended by then; it goes on.
        :raises TaskRevokedError: if it was revoked.
        """
        before = [one for parent in self.ancestors() for one in parent.nodes()] if follow_parents and propagate else []
        ids = {one._uuid: one for one in (self, *before) if isinstance(one, AsyncResult)}
        async with aclosing(ended(self.app, list(ids), timeout)) as metas:
            async for meta in metas:
                if meta.id == self._uuid:
                    if isinstance(meta.raised(), ChordError):
                        await self._raise_cause(ids)
                    return await self._got(meta, propagate, callback, on_message)
                error = meta.raised()
                if error is not None:
                    raise error
        raise AssertionError("a wait ended before the job")

    async def _raise_cause(self, ids: Collection[UUID]) -> None:
        """Why the chord failed whose body this is, if the header's results are known here."""
        for meta in (await read(self.app, [one for one in ids if one != self._uuid])).values():
            error = meta.raised()
            if error is not None:
                raise error

    async def _got(self, meta: Meta, propagate: bool, callback: Any, on_message: Any) -> Any:
        if on_message is not None:
            await called(on_message, _dictionary(meta))
        error = meta.raised()
        if error is not None and propagate:
            raise error
        value = meta.result
        if callback is not None:
            await called(callback, self.id, value)
        return value

    @io_method
    async def wait(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> Any:
        """As :meth:`get`."""
        return await self.get(timeout, propagate, **options)

    @io_method
    async def then(self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None) -> AsyncResult:
        """Wait for the end, and call ``callback(result)``; returns the result itself.

        :param on_error: called instead if the job failed.
        """
        meta = await self._ended()
        function = callback if meta.raised() is None else on_error
        if function is not None:
            await called(function, self)
        return self

    async def _ended(self, timeout: float | None = None) -> Meta:
        async with aclosing(ended(self.app, [self._uuid], timeout)) as metas:
            return await anext(metas)

    async def iterate(self, timeout: float | None = None, propagate: bool = True) -> AsyncGenerator[Any, None]:
        """Its value, as the only item."""
        yield await self.get(timeout, propagate)

    @io_method
    async def collect(self, timeout: float | None = None, propagate: bool = True) -> list[tuple[AsyncResult, Any]]:
        """Pairs of result and value, its own and those of the jobs that it has asked for, and that they have."""
        found, due = [], [self]
        while due:
            node = due.pop(0)
            found.append((node, await node.get(timeout, propagate)))
            due.extend(await node.children or ())
        return found

    @io_method
    async def get_leaf(self) -> Any:
        """The value of the last of the jobs that followed."""
        return (await self.collect())[-1][1]

    @io_method
    async def iterdeps(self, intermediate: bool = False) -> list[tuple[AsyncResult | None, AsyncResult]]:
        """Pairs of a result and the one that asked for it, from here on."""
        found: list[tuple[AsyncResult | None, AsyncResult]] = []
        due: list[tuple[AsyncResult | None, AsyncResult]] = [(None, self)]
        while due:
            parent, node = due.pop(0)
            found.append((parent, node))
            due.extend((node, child) for child in await node.children or ())
        return found

    # -- asking ----------------------------------------------------------------------------------------------------

    @io_method
    async def ready(self) -> bool:
        """Whether it has ended."""
        return (await self._meta()).ready

    @io_method
    async def successful(self) -> bool:
        """Whether it has ended well."""
        return (await self._meta()).state == states.SUCCESS

    @io_method
    async def failed(self) -> bool:
        """Whether it has failed."""
        return (await self._meta()).state == states.FAILURE

    @io_method
    async def exists(self) -> bool:
        """Whether there is such a job: a ``PENDING`` one may be one that nobody has asked for."""
        return (await self._meta()).record is not None

    @io_method
    async def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """The value or the exception as it is now, without waiting; a failure is raised."""
        return await self._got(await self._meta(), propagate, callback, None)

    @io_property
    async def state(self) -> str:
        """One of :mod:`~decant.tasks.states`, or what ``update_state`` said."""
        return (await self._meta()).state

    @io_property
    async def status(self) -> str:
        """``state``."""
        return (await self._meta()).state

    @io_property
    async def result(self) -> Any:
        """What the task returned, or the exception that it raised, or what it gave to ``update_state``."""
        return (await self._meta()).result

    @io_property
    async def info(self) -> Any:
        """``result``."""
        return (await self._meta()).result

    @io_property
    async def traceback(self) -> str | None:
        """Where it failed, as text."""
        return (await self._meta()).traceback

    @io_property
    async def date_done(self) -> datetime | None:
        """When it ended, in UTC."""
        return (await self._meta()).finished

    @io_property
    async def ignored(self) -> bool:
        """Whether it ended with ``Ignore``, or the result is not kept."""
        meta = await self._meta()
        return meta.state == states.IGNORED or bool(meta.envelope.options.get("ignore_result"))

    @io_property
    async def name(self) -> str | None:
        """The task's name."""
        record = (await self._meta()).record
        return self.task_name if record is None else record.task

    @io_property
    async def args(self) -> list[Any]:
        """The arguments, as they were handed over."""
        return (await self._meta()).envelope.args

    @io_property
    async def kwargs(self) -> dict[str, Any]:
        """The arguments by keyword."""
        return (await self._meta()).envelope.kwargs

    @io_property
    async def worker(self) -> str | None:
        """The id of the worker that has it, or had it last."""
        record = (await self._meta()).record
        return None if record is None else record.worker

    @io_property
    async def retries(self) -> int | None:
        """How often it was run again by ``retry``."""
        record = (await self._meta()).record
        return None if record is None else record.retries

    @io_property
    async def queue(self) -> str | None:
        """Its queue."""
        record = (await self._meta()).record
        return None if record is None else record.queue

    @io_property
    async def children(self) -> list[AsyncResult]:
        """The results of the jobs that it has asked for: by ``link``, as the next of a chain, or in the task."""
        records = await children(self.app, self._uuid)
        return [AsyncResult(one.id, None, one.task, self.app, self) for one in records]

    # -- telling ---------------------------------------------------------------------------------------------------

    @io_method
    async def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Do not begin it, or with ``terminate`` stop it if it runs.

        :param signal: Celery's, without effect: the job is cancelled, and the process of a ``process=True`` one killed.
        :param wait: until it has ended, at most ``timeout`` seconds.
        """
        await self.app.runtime().revoke([self._uuid], terminate=terminate, signal=signal)
        if wait:
            await self._ended(timeout)

    @io_method
    async def forget(self) -> None:
        """Delete the record of a job that has ended."""
        await self.app.runtime().forget([self._uuid])


def _restored(id: str, task_name: str | None, parent: Any) -> AsyncResult:  # noqa: A002
    return AsyncResult(id, task_name=task_name, parent=parent)


def _dictionary(meta: Meta) -> dict[str, Any]:
    return {
        "task_id": str(meta.id),
        "status": meta.state,
        "result": meta.result,
        "traceback": meta.traceback,
        "date_done": meta.finished,
        "children": [],
    }
