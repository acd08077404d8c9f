"""``Executor``: Flask-Executor's extension, for Quart and Flask."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Hashable, Iterable
from concurrent import futures
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import quart

from ..bridge import can_wait, wait
from ..context import current_app, has_app, on_quart
from ..errors import Overloaded
from . import settings
from .futures import FutureCollection, FutureProxy
from .pool import Job
from .processes import run_chunk
from .results import Feeder, Results
from .state import State

__all__ = ["Executor", "ExecutorJob", "propagate_exceptions_callback"]


def propagate_exceptions_callback(future: futures.Future[Any]) -> None:
    """Raise what the job raised, which is logged then: what ``EXECUTOR_PROPAGATE_EXCEPTIONS`` calls back."""
    if not future.cancelled() and (error := future.exception()) is not None:
        raise error


class ExecutorJob:
    """A function that ``@executor.job`` made submit itself; it is not called directly."""

    def __init__(self, executor: Executor, fn: Callable[..., Any]) -> None:
        self.executor, self.fn = executor, fn

    def submit(self, *args: Any, **kwargs: Any) -> FutureProxy:
        """As :meth:`Executor.submit`."""
        self.executor._refuse_processes(self.fn)
        return self.executor.submit(self.fn, *args, **kwargs)

    def submit_stored(self, future_key: Hashable, *args: Any, **kwargs: Any) -> FutureProxy:
        """As :meth:`Executor.submit_stored`."""
        self.executor._refuse_processes(self.fn)
        return self.executor.submit_stored(future_key, self.fn, *args, **kwargs)

    def map(self, *iterables: Iterable[Any], **kwargs: Any) -> Results:
        """As :meth:`Executor.map`."""
        self.executor._refuse_processes(self.fn)
        return self.executor.map(self.fn, *iterables, **kwargs)


class Executor(futures.Executor):
    """Runs functions in threads, with the context of the code that submits them, or in processes.

    As Flask-Executor's, for Quart and Flask applications alike. Differences: futures are awaited on an event loop; the
    queue is bounded; coroutine functions are jobs too; no request is needed, and with one application no context
    either; an instance may serve several applications.

    Keys, after ``<NAME>_`` if it has a name: ``EXECUTOR_TYPE`` (``"thread"``, ``"process"``), ``EXECUTOR_MAX_WORKERS``,
    ``EXECUTOR_FUTURES_MAX_LENGTH``, ``EXECUTOR_PROPAGATE_EXCEPTIONS``, ``EXECUTOR_PUSH_APP_CONTEXT``; and ours:
    ``EXECUTOR_MAX_PENDING`` jobs may wait, ``EXECUTOR_SHUTDOWN_TIMEOUT`` seconds are given to jobs at the end.

    :param app: initialised at once, if given.
    :param name: of letters, digits and underscores; several executors of an application have different ones.
    :raises ValueError: if the name has other characters.
    """

    def __init__(self, app: Any = None, name: str = "") -> None:
        if re.fullmatch(r"\w*", name) is None:
            raise ValueError(f"Executor names may only contain letters, numbers or underscores, not {name!r}")
        self.name = name
        self._prefix = f"{name.upper()}_" if name else ""
        self._states: WeakKeyDictionary[Any, State] = WeakKeyDictionary()
        self._default_done_callbacks: list[Callable[..., Any]] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> None:
        """Set up a Quart or Flask application from its configuration.

        :raises ConfigError: if a value is wrong; it is a ``ValueError``.
        :raises RuntimeError: if the application has an executor of that name.
        """
        key = f"{self.name}executor"
        is_quart = on_quart(app)
        if key in app.extensions:
            raise RuntimeError(
                f"the application has an executor already: give this one another name than {self.name!r}"
            )
        self._states[app] = state = State(app, self.name, settings.read(app.config, self._prefix))
        app.extensions[key] = self
        if is_quart:
            _end_with(app, state)
        _answer_503(app)

    # -- jobs --------------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> FutureProxy:
        """Run ``fn(*args, **kwargs)`` in the background: ``await`` the future, or ask it for its ``result()``.

        In a thread it has the application, copies of the request's context and of ``g``, the session, and may
        ``decant.wait``. A coroutine function runs on the event loop (Flask: in a thread). In a process it has none.

        :raises Overloaded: if ``EXECUTOR_MAX_PENDING`` jobs wait already.
        :raises RuntimeError: after the shutdown.
        """
        state = self._here()
        job = self._job(state, fn, args, kwargs)
        state.pool.submit(job)
        return job.future

    def submit_stored(self, future_key: Hashable, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> FutureProxy:
        """As :meth:`submit`; the future is kept in :attr:`futures`, for other requests to ask.

        :raises ValueError: if there is a future with that key; nothing runs then.
        """
        state = self._here()
        job = self._job(state, fn, args, kwargs)
        job.future._stored = True
        state.futures._claim(future_key, job.future)
        try:
            state.pool.submit(job)
        except BaseException:
            state.futures.pop(future_key)
            raise
        state.futures._trim()
        return job.future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **_: Any,
    ) -> Results:
        """Run ``fn`` with the items of the iterables; results come in order, with ``async for`` or ``for``.

        All of them run, also if nobody iterates, at most ``EXECUTOR_MAX_WORKERS`` of them in the queue at a time.

        :param timeout: seconds from now until the last result must be there, else iteration raises ``TimeoutError``.
        :param chunksize: how many calls go to a process in one message.
        :raises Overloaded: if ``EXECUTOR_MAX_PENDING`` jobs wait already.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize is {chunksize}, but must be at least 1")
        state, items = self._here(), list(zip(*iterables, strict=False))
        chunked = state.settings.processes and chunksize > 1
        if chunked:
            chunks = [items[start : start + chunksize] for start in range(0, len(items), chunksize)]
            jobs = [self._job(state, run_chunk, (fn, chunk), {}) for chunk in chunks]
        else:
            jobs = [self._job(state, fn, arguments, {}) for arguments in items]
        feeder = Feeder(jobs, state.pool)
        feeder.start()
        return Results([job.future for job in jobs], timeout, chunked, feeder.cancel)

    def job(self, fn: Callable[..., Any]) -> ExecutorJob:
        """Decorate a function: it gets ``submit``, ``submit_stored`` and ``map``, and is not called directly any more.

        :raises TypeError: if the executor has processes, which could not find the function by its name.
        """
        if any(state.settings.processes for state in self._states.values()):
            raise TypeError(f"Can't decorate {fn}: Executors that use multiprocessing don't support decorators")
        return ExecutorJob(self, fn)

    def add_default_done_callback(self, fn: Callable[..., Any]) -> None:
        """Add a callback to every future that is made from now on, as :meth:`FutureProxy.add_done_callback`."""
        self._default_done_callbacks.append(fn)

    def _job(self, state: State, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
        if not callable(fn):
            raise TypeError(f"a function is needed, not {type(fn).__name__}: {fn!r}")
        job = state.job(partial(fn, *args, **kwargs), fn)
        callbacks = self._default_done_callbacks
        propagate = [propagate_exceptions_callback] if state.settings.propagate_exceptions else []
        for callback in (*propagate, *callbacks):
            job.future.add_done_callback(callback)
        return job

    def _refuse_processes(self, fn: Callable[..., Any]) -> None:
        if self._here().settings.processes:
            raise TypeError(f"Can't submit {fn}: Executors that use multiprocessing don't support decorators")

    # -- state -------------------------------------------------------------------------------------------------

    def _here(self) -> State:
        """The current application's state; that of the only application if the current one has none."""
        state = self._states.get(current_app()) if has_app() else None
        if state is not None:
            return state.here()
        states = list(self._states.values())
        if len(states) == 1:
            return states[0].here()
        if not states:
            raise RuntimeError("this executor has no application yet: call init_app(app) first")
        raise RuntimeError("this executor serves several applications: an app context must say which is meant")

    @property
    def futures(self) -> FutureCollection:
        """The stored futures of the current application."""
        return self._here().futures

    @property
    def _max_workers(self) -> int:
        return self._here().pool.size

    @property
    def _shutdown(self) -> bool:
        return self._here().pool.closed

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs; those that there are run to their end, for as long as they take.

        Quart applications do this by themselves at the end, within ``EXECUTOR_SHUTDOWN_TIMEOUT``.

        :param wait: wait for them.
        :param cancel_futures: cancel those that have not started.
        :raises RuntimeError: with ``wait`` on an event loop outside a bridge: await :meth:`drain` there.
        """
        state = self._here()
        if wait and asyncio._get_running_loop() is not None and not can_wait():
            raise RuntimeError("shutdown() would block the event loop: write `await executor.drain()`")
        state.pool.close()
        if cancel_futures:
            state.pool.cancel_queued()
        idle = state.pool.idle()
        idle.add_done_callback(lambda _: state.free())
        if wait:
            _wait_for(idle)

    async def drain(self, timeout_s: float | None = None) -> None:
        """Take no more jobs and wait for those that there are; after ``timeout_s`` seconds stop them.

        Jobs that wait are then cancelled, threads raise ``CancelledError`` when they wait next, processes are killed.
        """
        await self._here().drain(timeout_s)


def _wait_for(idle: futures.Future[None]) -> None:
    if asyncio._get_running_loop() is None:
        idle.result()
    else:
        wait(asyncio.wrap_future(idle))


def _end_with(app: Any, state: State) -> None:
    @app.before_serving  # type: ignore[untyped-decorator]
    async def open_executor() -> None:
        state.open()

    @app.after_serving  # type: ignore[untyped-decorator]
    async def drain_executor() -> None:
        await state.drain(state.settings.shutdown_timeout_s)


def _answer(error: Any) -> tuple[str, int, dict[str, str]]:
    text = "The service is busy at the moment. Please try again in a few seconds.\n"
    return text, 503, {"Retry-After": str(error.retry_after_s), "Content-Type": "text/plain; charset=utf-8"}


async def _async_answer(error: Any) -> Any:
    return _answer(error)


def _answer_503(app: Any) -> None:
    """Answer 503 when the queue is full, unless the application says otherwise, before this or after."""
    if not on_quart(app):
        app.error_handler_spec[None][None].setdefault(Overloaded, _answer)
    elif type(app).handle_user_exception is quart.Quart.handle_user_exception:  # decant.Quart answers by itself
        app.error_handler_spec[None][None].setdefault(Overloaded, _async_answer)
