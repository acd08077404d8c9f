"""``Tasks``: Celery's application, as an extension of Quart and Flask."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, overload
from weakref import WeakKeyDictionary

from ..context import current_app, has_app, on_quart
from ..errors import ConfigError
from ..faces import faced, io_method, twin_of
from . import signals
from .asking import of_the_caller
from .beat.entries import entry_from
from .canvas import following
from .canvas.chain import chain
from .canvas.chord import chord
from .canvas.group import group
from .canvas.signature import Signature, plain_list
from .control import Control
from .ids import uuid
from .imports import import_all, import_related
from .publishing import build, origin, submit
from .registry import TaskRegistry
from .request import current_task
from .results import AsyncResult, GroupResult, ResultSet
from .runtime import Runtime
from .settings import Conf, from_object
from .shared import known, made_current
from .task import Task

if TYPE_CHECKING:
    from .running.logs import LogContext

__all__ = ["Tasks"]


class Tasks:
    """Background jobs: Celery's ``Celery``, for Quart and Flask applications.

    ::

        tasks = Tasks()

        @tasks.task
        async def add(x, y):
            return x + y

        tasks.init_app(app)
        result = await add.delay(1, 2)
        await result.get(timeout=5)

    :param app: initialised at once, if given; may be a name as well, as Celery's ``main``, for tasks defined in
        ``__main__``.
    :param conf: settings, as ``task_always_eager=True``; :class:`~decant.tasks.settings.Conf` lists them.
    """

    conf_class: ClassVar[type[Conf]] = Conf

    def __init__(
        self,
        app: Any = None,
        *,
        main: str | None = None,
        include: Iterable[str] = (),
        task_cls: type[Task] | None = None,
        set_as_current: bool = True,
        namespace: str | None = None,
        config_source: Any = None,
        **conf: Any,
    ) -> None:
        if isinstance(app, str):
            app, main = None, app
        self.main, self.namespace = main, namespace
        self.tasks = TaskRegistry()
        self.Task: type[Task] = task_cls or Task
        self.is_sync = False
        """Whether it serves Flask applications, whose code gets faces."""
        self._conf = self.conf_class()
        self._confs: WeakKeyDictionary[Any, Conf] = WeakKeyDictionary()
        self._runtimes: WeakKeyDictionary[Any, Runtime] = WeakKeyDictionary()
        self._related: list[tuple[Any, str | None]] = []
        self._finalized = False
        self.on_configure = signals.Signal("app.on_configure")
        self.on_after_configure = signals.Signal("app.on_after_configure", "source")
        self.on_after_finalize = signals.Signal("app.on_after_finalize")
        self.on_after_fork = signals.Signal("app.on_after_fork")
        self.control = Control(self)
        self.log_context: LogContext | None = None
        """What binds a job to the log while it runs: given ``job_id task attempt request_id``, it returns a context
        manager, as ``lambda fields: structlog.contextvars.bound_contextvars(**fields)`` does.
        """
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        self._conf.update({**conf, **({"include": tuple(include)} if include else {})})
        for builtin in following.builtin_tasks():
            self.make_task(*builtin)
        known(self)
        if set_as_current:
            made_current(self)
        if app is not None:
            self.init_app(app)

    def __repr__(self) -> str:
        return f"<Tasks {self.main or ''}: {len(self.tasks)} tasks>"

    def __reduce__(self) -> Any:
        raise TypeError("a Tasks cannot be pickled")

    # -- applications ----------------------------------------------------------------------------------------------

    def init_app(self, app: Any) -> None:
        """Set up a Quart or Flask application from its configuration.

        :raises ConfigError: if a value is wrong; if the database is not PostgreSQL, and ``TASKS_DURABLE`` not false.
        :raises RuntimeError: if the application has tasks already.
        """
        is_quart = on_quart(app)
        if twin_of(app.extensions.get("tasks")) not in (None, self):
            raise RuntimeError("the application has a Tasks already: use that one, it is app.extensions['tasks']")
        conf = self._conf.for_app(app)
        runtime = self._runtimes[app] = Runtime(app, conf)
        self._confs[app] = conf
        self.is_sync = self.is_sync or not is_quart
        app.extensions["tasks"] = self if is_quart else faced(self)
        for task in self.tasks.values():
            _annotate(task, conf.task_annotations)
        if runtime.ledger is not None:
            runtime.ledger.on_group_done = partial(following.group_done, self, conf)
            runtime.ledger.on_broken = partial(following.broken, self, conf)
            runtime.ledger.on_group_failed = partial(following.group_failed, self, conf)

    def runtime(self, app: Any = None) -> Runtime:
        """An application's ledger, index in Redis and channels: by default the current one's.

        :raises RuntimeError: if none is current and there are several, or none at all.
        """
        return self._runtimes[self._app(app)]

    def _app(self, app: Any = None) -> Any:
        if app is None and has_app():
            app = current_app()
        if app in self._runtimes:
            return app
        apps = list(self._runtimes)
        if len(apps) == 1:
            return apps[0]
        if not apps:
            raise RuntimeError("this Tasks has no application yet: call init_app(app) first")
        raise RuntimeError("this Tasks serves several applications: an app context must say which is meant")

    # -- settings --------------------------------------------------------------------------------------------------

    @property
    def conf(self) -> Conf:
        """The settings: ``tasks.conf.timezone = "Europe/Berlin"``; those of the current application, if it has one."""
        if not self._confs:
            return self._conf
        if len(self._confs) == 1:
            return next(iter(self._confs.values()))
        return self._confs.get(current_app(), self._conf) if has_app() else self._conf

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Settings of a module, class, object or dictionary, or the dotted name of one of them.

        :param silent: a name that cannot be imported is passed over.
        :param namespace: only names that begin with it count, as ``CELERY_TIMEZONE`` with ``"CELERY"``.
        :raises ConfigError: if a value is wrong.
        """
        self._conf._explicit.update(from_object(obj, namespace or self.namespace, silent=silent))

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> None:
        """Settings of the module that an environment variable names.

        :raises ConfigError: if it is not set, unless ``silent``.
        """
        name = os.environ.get(variable_name)
        if name:
            self.config_from_object(name, silent=silent)
        elif not silent:
            raise ConfigError(variable_name, name, "the environment variable must name a module of settings")

    def add_defaults(self, defaults: Any) -> None:
        """Settings for what is not set: a dictionary, or a function that returns one."""
        given = defaults() if callable(defaults) else dict(defaults)
        self._conf.update({key: value for key, value in given.items() if key not in self.conf.changes()})

    @property
    def timezone(self) -> tzinfo:
        """``conf.timezone``."""
        return self.conf.tz

    def now(self) -> datetime:
        """The time, in :attr:`timezone`."""
        return datetime.now(self.timezone)

    # -- tasks -----------------------------------------------------------------------------------------------------

    @property
    def registry(self) -> TaskRegistry:
        """:attr:`tasks`: the tasks by name."""
        return self.tasks

    @overload
    def task(self, function: Callable[..., Any], /) -> Task: ...

    @overload
    def task(self, **options: Any) -> Callable[[Callable[..., Any]], Task]: ...

    def task(self, *args: Any, **options: Any) -> Any:
        """Make a task of a function: ``@tasks.task``, or with options, ``@tasks.task(bind=True, max_retries=5)``.

        :param options: those of :class:`~decant.tasks.options.TaskOptions`; ``name``, by default the function's module
            and name; ``base``, a class derived from :class:`~decant.tasks.Task`; and attributes of Celery's that have
            no effect.
        :raises ConfigError: if an option is wrong.
        """
        if len(args) == 1 and callable(args[0]):
            return self.make_task(args[0], options)
        if args:
            raise TypeError(f"@task takes options by keyword, as in @tasks.task(name='x'), not {args!r}")
        return partial(self.make_task, options=options)

    def make_task(self, function: Callable[..., Any], options: Mapping[str, Any]) -> Task:
        """What :meth:`task` does."""
        if isinstance(function, Task):
            return function
        given = dict(options)
        base = given.pop("base", None) or self.Task
        if not (isinstance(base, type) and issubclass(base, Task)):
            raise TypeError(f"base is a class derived from decant.tasks.Task, not {base!r}")
        name = given.pop("name", None) or self.gen_task_name(function.__name__, function.__module__)
        for method in ("shadow_name",):
            if method in given:
                base = type(base.__name__, (base,), {method: given.pop(method)})
        made: Task = base()
        made.bind_to(self, name, given, function)
        return self._registered(made)

    def register_task(self, task: Task | type[Task], **options: Any) -> Task:
        """Add a task that is an instance of a class with ``run``, or such a class."""
        made = task() if isinstance(task, type) else task
        name = made.name or self.gen_task_name(type(made).__name__, type(made).__module__)
        made.bind_to(self, name, options)
        return self._registered(made)

    def _registered(self, task: Task) -> Task:
        _annotate(task, self.conf.task_annotations)
        self.tasks.register(task)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task: its module and its function."""
        if module == "__main__":
            module = self.main or getattr(sys.modules["__main__"].__spec__, "name", None) or "__main__"
        return f"{module}.{name}"

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import ``<package>.tasks`` of each package when a worker starts, or with ``force`` now."""
        if force:
            import_related(packages() if callable(packages) else packages or (), related_name)
        else:
            self._related.append((packages, related_name))

    def import_modules(self) -> None:
        """Import the modules of ``imports``, ``include`` and :meth:`autodiscover_tasks`, as a worker does."""
        import_all((*self.conf.imports, *self.conf.include))
        for packages, related_name in self._related:
            import_related(packages() if callable(packages) else packages or (), related_name)

    @io_method
    async def finalize(self, auto: bool = False) -> None:
        """Send ``on_configure``, ``on_after_configure``, ``on_after_finalize``, once; workers do it when they start."""
        if self._finalized:
            return
        self._finalized = True
        sender = faced(self) if self.is_sync else self
        await self.on_configure.send(sender=sender)
        await self.on_after_configure.send(sender=sender, source=self.conf)
        await self.on_after_finalize.send(sender=sender)

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Run a signature on a schedule: ``tasks.add_periodic_task(crontab(hour=7), report.s("daily"))``.

        :param schedule: a ``crontab`` or ``schedule``, a timedelta, or seconds.
        :param sig: a signature, or a task; ``args`` come before its own, and ``kwargs`` are added to its own.
        :param name: of the entry; by default the call as text, so that the same call twice is one entry.
        :param options: of ``apply_async``; ``relative`` and ``catch_up`` are the entry's.
        :return: the name of the entry.
        :raises ConfigError: if the schedule or another part is wrong.
        """
        key, entry = entry_from(schedule, sig, tuple(args), kwargs, name, **options)
        self.conf.beat_schedule = {**self.conf.beat_schedule, key: entry}
        return key

    # -- jobs ------------------------------------------------------------------------------------------------------

    @io_method
    @of_the_caller
    async def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        link: Any = None,
        link_error: Any = None,
        retry: bool | None = None,
        retry_policy: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Ask for a job of a task that need not be known here. Options are those of :meth:`Task.apply_async`."""
        options |= {"link": plain_list(link), "link_error": plain_list(link_error)}
        job = build(self, name, args or (), kwargs or {}, options, origin())
        await submit(self, [job], retry=retry, retry_policy=retry_policy)
        return AsyncResult(job.id, task_name=name, app=self)

    def AsyncResult(self, id: Any, **kwargs: Any) -> AsyncResult:  # noqa: A002
        """The result of a job."""
        return AsyncResult(id, app=self, **kwargs)

    def GroupResult(self, id: Any = None, results: Iterable[Any] = (), **kwargs: Any) -> GroupResult:  # noqa: A002
        """The results of several jobs."""
        return GroupResult(id, results, app=self, **kwargs)

    def ResultSet(self, results: Iterable[Any], **kwargs: Any) -> ResultSet:
        """Results that are waited for together."""
        return ResultSet(results, app=self, **kwargs)

    def signature(self, task: Any, args: Any = None, kwargs: Any = None, options: Any = None, **more: Any) -> Signature:
        """A call to be made later, of a task or its name."""
        return Signature(task, args, kwargs, {**(options or {}), **more.pop("options", {})}, app=self, **more)

    def chain(self, *tasks: Any, **kwargs: Any) -> Any:
        """:func:`~decant.tasks.chain`, of these tasks."""
        return chain(*tasks, app=self, **kwargs)

    def group(self, *tasks: Any, **kwargs: Any) -> group:
        """:class:`~decant.tasks.group`, of these tasks."""
        return group(*tasks, app=self, **kwargs)

    def chord(self, header: Any, body: Any = None, **kwargs: Any) -> chord:
        """:class:`~decant.tasks.chord`, of these tasks."""
        return chord(header, body, app=self, **kwargs)

    @property
    def current_task(self) -> Any:
        """The task that runs here, or ``None``."""
        return current_task._get_current_object() if current_task else None

    def set_current(self) -> None:
        """Be the one that is meant where no application is current."""
        made_current(self)

    set_default = set_current

    def uuid(self) -> str:
        """A new id."""
        return uuid()


def _annotate(task: Task, annotations: Any) -> None:
    """Set what ``task_annotations`` says of a task: ``{"app.mail": {"rate_limit": "10/s"}, "*": {…}}``, or a list."""
    for found in annotations if isinstance(annotations, list | tuple) else [annotations or {}]:
        said = {**found.get("*", {}), **found.get(task.name, {})} if isinstance(found, Mapping) else {}
        for name, value in said.items():
            setattr(task, name, value)
