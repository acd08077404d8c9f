"""``Task``: a function that workers run, and what it may do while it runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from types import MethodType
from typing import Any, ClassVar, Final

from ..faces import io_method
from . import backoff, errors
from .annotations import adapt, to_plain
from .asking import of_the_caller
from .declaring import Declared, option_attributes
from .ids import uuid
from .options import TaskOptions, declared
from .publishing import build, origin, submit
from .request import Context, current_request, pushed
from .results import AsyncResult, EagerResult

__all__ = ["Task"]

_Kwargs = Mapping[str, Any]


@option_attributes
class Task(metaclass=Declared):
    """Celery's ``Task``. ``@tasks.task`` makes one of a function; a class derived from it has a ``run`` of its own::

        @tasks.task(bind=True, autoretry_for=(OSError,), retry_backoff=True)
        async def fetch(self, url): ...

        await fetch.delay("https://example.org")

    Its options are attributes, as in Celery: ``fetch.max_retries``, or in the body of a class ``max_retries = 5``;
    :class:`~decant.tasks.options.TaskOptions` lists them.

    A coroutine function runs on the worker's event loop, a plain one in a bounded thread, and with ``process=True`` in
    a process. A plain one's ``self`` has no coroutines: ``self.update_state(…)`` needs no ``await`` there.
    """

    abstract = True
    name: str = ""
    app: Any = None
    options: TaskOptions
    _declared: ClassVar[dict[str, Any]] = {}

    MaxRetriesExceededError = errors.MaxRetriesExceededError
    OperationalError = errors.OperationalError

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """What the task does."""
        raise NotImplementedError("Tasks must define the run method.")

    def bind_to(self, app: Any, name: str, given: _Kwargs, function: Callable[..., Any] | None = None) -> None:
        """Make it a task of ``app``.

        :param given: the options of the decorator, which come before those of the class.
        :param function: what it runs instead of its class's ``run``.
        """
        self.app, self.name = app, name
        self.options = declared(name, {**type(self)._declared, **given})
        self.function = function if function is not None else type(self).run
        if function is not None:
            self.__doc__, self.__module__ = function.__doc__, function.__module__
            self.__wrapped__ = function
        bound = self.options.bind or function is None
        self.run = self._run_of(self.function, bound)  # type: ignore[method-assign]
        self.__signature__ = inspect.signature(self.run)
        self.on_bound(app)

    def _run_of(self, function: Callable[..., Any], bound: bool) -> Callable[..., Any]:
        if not bound:
            return function
        return MethodType(function, self if inspect.iscoroutinefunction(function) else self.plain)

    @cached_property
    def plain(self) -> Any:
        """Itself for plain functions: what does I/O is waited for."""
        from .plain import plain_of  # which is made of this class

        return plain_of(self)

    def on_bound(self, app: Any) -> None:
        """Called when it has become a task of ``app``."""

    @cached_property
    def kind(self) -> str:
        """Where it runs: ``"async"``, on the loop; in a ``"thread"``; in a ``"process"``."""
        if self.options.process:
            return "process"
        return "async" if inspect.iscoroutinefunction(inspect.unwrap(self.function)) else "thread"

    @property
    def entry(self) -> Callable[..., Any]:
        """What a job calls: a ``__call__`` of the project's own class, if it has one, else the function."""
        own = not getattr(type(self).__call__, "__module__", "").startswith("decant.tasks.")
        return self if own else self.run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here and now; there is no job."""
        context = Context(task=self.name, args=list(args), kwargs=kwargs)
        if inspect.iscoroutinefunction(self.run):
            return self._awaited(context, args, kwargs)
        with pushed(self, context):
            return self.run(*args, **kwargs)

    async def _awaited(self, context: Context, args: Any, kwargs: Any) -> Any:
        with pushed(self, context):
            return await self.run(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<@task: {self.name}>" if self.name else f"<unbound {type(self).__name__}>"

    def __reduce__(self) -> Any:
        return _by_name, (self.name,)

    # -- arguments -------------------------------------------------------------------------------------------------

    def check_arguments(self, args: Iterable[Any], kwargs: _Kwargs) -> None:
        """As Celery does before it sends.

        :raises TypeError: if the function does not take them; names the task.
        """
        if self.options.typing:
            try:
                self.__signature__.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.name}() cannot be called like this: {error}") from None

    def to_plain(self, args: Iterable[Any], kwargs: _Kwargs) -> tuple[list[Any], dict[str, Any]]:
        """The arguments to hand over: enumerations and dataclasses, where annotated, as what they are made of."""
        return to_plain(self.run, args, kwargs)

    def adapt(self, args: Iterable[Any], kwargs: _Kwargs) -> tuple[list[Any], dict[str, Any]]:
        """The way back, in the worker."""
        return adapt(self.run, args, kwargs)

    # -- asking for jobs -------------------------------------------------------------------------------------------

    @io_method
    @of_the_caller
    async def delay(self, *args: Any, **kwargs: Any) -> AsyncResult | EagerResult:
        """Ask for a job with these arguments; :meth:`apply_async` has options besides."""
        return await self.apply_async(args, kwargs)

    @io_method
    @of_the_caller
    async def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: _Kwargs | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        *,
        retry: bool | None = None,
        retry_policy: _Kwargs | None = None,
        **options: Any,
    ) -> AsyncResult | EagerResult:
        """Ask for a job.

        If the session of the application has a transaction that was begun explicitly, or writes, the job is part of it:
        it is rolled back with it, and begun after the commit.

        :param task_id: of the job; if there is one with it already, nothing is added. A text that is no UUID stands for
            one that is always the same.
        :param link: signatures of what is called with the result.
        :param link_error: signatures of what is called with the id of the job if it fails.
        :param retry: whether to try again if the database does not answer; ``retry_policy`` says how often.
        :param options: ``countdown`` (seconds), ``eta`` (a datetime; naive: in ``conf.timezone``), ``expires`` (seconds
            or a datetime), ``queue``, ``priority`` (0 to 9, where 9 comes first), ``time_limit``, ``soft_time_limit``,
            ``ignore_result``, ``headers``, ``durable``, ``max_attempts``; Celery's of the broker have no effect.
        :raises TypeError: if the function does not take the arguments, they cannot be handed over, or an option is
            unknown.
        :raises PayloadTooLarge: if the arguments are larger than ``TASKS_MAX_ARGUMENTS_KB``.
        :raises OperationalError: if the database does not answer; it is an
            :exc:`~decant.errors.Unavailable`, so views answer 503.
        """
        from .canvas.signature import plain_list

        given, named = tuple(args or ()), dict(kwargs or {})
        self.check_arguments(given, named)
        shadow = shadow or self.shadow_name(given, named, options)
        said = {**options, "task_id": task_id, "shadow": shadow}
        said |= {"link": plain_list(link), "link_error": plain_list(link_error)}
        said.setdefault("ignore_result", self.options.ignore_result)
        job = build(self.app, self.name, given, named, said, origin())
        if self.app.conf.task_always_eager:  # what a worker would not be given is refused all the same
            return await self.apply(given, named, link, link_error, task_id, **options)
        await submit(self.app, [job], retry=retry, retry_policy=retry_policy)
        return self.AsyncResult(job.id)

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """The name to show for a call in logs and the monitor, if not the task's; to be overridden."""
        return None

    @io_method
    async def apply(
        self,
        args: Iterable[Any] | None = None,
        kwargs: _Kwargs | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int = 0,
        throw: bool | None = None,
        **options: Any,
    ) -> EagerResult:
        """Run the task here and now, hooks, retries (without their pauses) and callbacks too.

        :param throw: raise what it raises; without it ``task_eager_propagates`` decides.
        """
        from .eager import apply

        given, named = tuple(args or ()), dict(kwargs or {})
        done: EagerResult = await apply(
            self, given, named, link, link_error, task_id or uuid(), retries, throw, options
        )
        return done

    def AsyncResult(self, task_id: Any, **kwargs: Any) -> AsyncResult:
        """The result of a job of this task."""
        return AsyncResult(task_id, task_name=self.name, app=self.app, **kwargs)

    # -- signatures ------------------------------------------------------------------------------------------------

    def signature(self, args: Any = None, kwargs: Any = None, *, immutable: bool = False, **options: Any) -> Any:
        """A call to be made later: :class:`~decant.tasks.canvas.Signature`."""
        from .canvas import Signature

        more = options.pop("options", None) or {}
        return Signature(self, args, kwargs, {**more, **options}, immutable=immutable, app=self.app)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Any:
        """``signature(args, kwargs)``."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Any:
        """An immutable one: the result of what comes before is not handed to it."""
        return self.signature(args, kwargs, immutable=True)

    def chunks(self, it: Iterable[Any], n: int) -> Any:
        """Calls with each item's arguments, ``n`` to a job."""
        from .canvas import chunks

        return chunks(self.s(), it, n, app=self.app)

    def map(self, it: Iterable[Any]) -> Any:
        """Calls with each item, in one job."""
        from .canvas import xmap

        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> Any:
        """Calls with each item's arguments, in one job."""
        from .canvas import xstarmap

        return xstarmap(self.s(), it, app=self.app)

    # -- while it runs ---------------------------------------------------------------------------------------------

    @property
    def request(self) -> Context:
        """What is known of the job that runs here."""
        return current_request(self)

    def retry(
        self,
        args: Iterable[Any] | None = None,
        kwargs: _Kwargs | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> errors.Retry:
        """End this try; the job is run again: ``raise self.retry(exc=error, countdown=60)``.

        :param args: for the next try, if others; ``kwargs`` likewise.
        :param exc: what to raise once there were enough tries, and to show meanwhile.
        :param throw: without it the :exc:`Retry` is returned, to be raised.
        :param eta: when; or ``countdown``, in seconds; or ``default_retry_delay``.
        :param max_retries: instead of the task's, for this time.
        :param options: Celery's others have no effect: the job stays in its queue.
        :raises Retry: for the worker.
        :raises MaxRetriesExceededError: after the last, if ``exc`` is not given.
        """
        request = self.request
        if request.called_directly:
            _raise(exc or errors.Retry("Task can be retried", None))
        if eta is None and countdown is None:
            countdown = self.options.default_retry_delay
        changed = None
        if args is not None or kwargs is not None:
            changed = {
                "args": list(request.args if args is None else args),
                "kwargs": dict(request.kwargs if kwargs is None else kwargs),
            }
        most = self.options.max_retries if max_retries is None else max_retries
        if most is not None and request.retries + 1 > most:
            if exc is not None:
                _raise(exc)
            raise self._too_many(request)
        again = errors.Retry(exc=exc, when=eta or countdown, is_eager=request.is_eager, sig=changed)
        if throw:
            raise again
        return again

    def _too_many(self, request: Context) -> errors.MaxRetriesExceededError:
        text = f"Can't retry {self.name}[{request.id}] args:{request.args} kwargs:{request.kwargs}"
        return self.MaxRetriesExceededError(text, task_args=request.args, task_kwargs=request.kwargs)

    def retried(self, error: BaseException) -> BaseException:
        """What ``error``, raised by the function, becomes by ``autoretry_for``: workers end the try with that."""
        return backoff.automatic(self, error)

    @io_method
    async def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_: Any
    ) -> bool:
        """Say how far it is: ``await self.update_state(state="PROGRESS", meta={"done": 3, "of": 10})``.

        Results show it while the job runs, whoever waits is told. Only the job that runs here can be updated.

        :return: whether it was noted: not if the job was taken from this worker meanwhile.
        :raises TypeError: if ``meta`` cannot be handed over.
        :raises PayloadTooLarge: if it is larger than the arguments of a job may be.
        """
        from .progress import update

        return await update(self, task_id, state, meta)

    @io_method
    async def replace(self, sig: Any) -> Any:
        """End here; the job goes on as ``sig``: ``raise await self.replace(other.s(1))`` or without the ``raise``.

        Its result is this job's, and what came after this job comes after that.

        :raises Ignore: for the worker.
        """
        from .progress import replace

        return await replace(self, sig)

    # -- hooks, plain or async ---------------------------------------------------------------------------------------

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> Any:
        """Called before the function."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> Any:
        """Called when it has returned."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> Any:
        """Called when it has failed; ``str(einfo)`` is the traceback."""

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> Any:
        """Called when it is to be run again."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> Any:
        """Called at the end of each try."""


_HOOKS: Final = ("before_start", "on_success", "on_failure", "on_retry", "after_return")


def _raise(error: BaseException) -> None:
    """The exception that is being handled, if it is that one; else ``error``, with it as its context."""
    handled = sys.exc_info()[1]
    if handled is error:
        raise
    raise error


def _by_name(name: str) -> Any:
    from .shared import current_tasks

    return current_tasks().tasks[name]
