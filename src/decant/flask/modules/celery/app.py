"""``celery.Celery``: :class:`decant.tasks.Tasks` with Celery's constructor, which needs no web application."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from importlib import import_module
from typing import Any, Final

import flask
from werkzeug.local import LocalProxy

from .... import tasks as tasks_
from ....bridge import bridged, wait
from ....faces import faced, io_method, twin_of
from ....tasks.keys import REPLACED
from ....tasks.request import current
from ....tasks.settings import _imported
from .beside import flask_of
from .conf import CeleryConf, settings_of
from .place import Place, found
from .task import Task

__all__ = ["Celery", "current_app", "current_celery", "current_task", "shared_task"]

logger = logging.getLogger("decant.flask")
_latest: Final[list[Any]] = []
_MISSING: Final = {
    "worker_main": "run `decant worker --faces module:celery`",
    "start": "run `decant worker --faces module:celery`",
    "Worker": "run `decant worker --faces module:celery`",
    "Beat": "every worker keeps the schedule",
    "backend": "results are asked for with AsyncResult(id)",
    "amqp": "there is no AMQP: jobs are in Redis and PostgreSQL",
    "connection": "there is no AMQP: jobs are in Redis and PostgreSQL",
    "events": "decant.monitor shows what happens",
    "loader": "conf has the settings",
    "log": "logging is that of the application",
}


class Site(flask.Flask):
    """What the tasks hold for their application. A task enters the context of the Flask application by itself, as
    under Celery: outside of it there is none here, either.
    """

    def app_context(self) -> Any:
        """None."""
        return nullcontext()


class Celery(tasks_.Tasks):
    """:class:`decant.tasks.Tasks` for code written for Celery, used through its face.

    Where its jobs are is settled when one is asked for first, or a worker starts; :func:`.place.found` has the rule.

    :param main: the name of the module, for tasks that are defined in ``__main__``.
    :param broker: a Redis, unless ``TASKS_REDIS_URL`` names one; ``backend`` as well.
    :param task_cls: a class derived from :class:`celery.Task`, or its dotted name.
    :param changes: settings; ``kwargs`` are Celery's others, which have no effect.
    """

    conf_class = CeleryConf

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: Any = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: Any = None,
        include: Iterable[str] | None = None,
        changes: dict[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        **kwargs: Any,
    ) -> None:
        kind = _class(task_cls) if isinstance(task_cls, str) else task_cls or Task
        self._kind: type[tasks_.Task] = Task
        self._without_base: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._site: Site | None = None
        self._settling = threading.RLock()
        super().__init__(
            main=main,
            include=tuple(include or ()),
            task_cls=kind,
            set_as_current=set_as_current,
            namespace=namespace,
            config_source=config_source,
        )
        self.is_sync = True
        if set_as_current:
            _latest[:] = [self]
        urls = {"broker_url": broker, "result_backend": backend}
        self._conf.update({**(changes or {}), **{key: value for key, value in urls.items() if value}})

    def __repr__(self) -> str:
        return f"<Celery {self.main or '__main__'}: {len(self.tasks)} tasks, run by decant>"

    def __getattr__(self, name: str) -> Any:
        advice = _MISSING.get(name)
        raise AttributeError(f"Celery has no {name!r} here" + (f": {advice}" if advice else ""))

    # -- tasks -----------------------------------------------------------------------------------------------------

    @property
    def Task(self) -> type[tasks_.Task]:
        """The class of tasks without a base of their own. Set, it is that of those that were made before, too: Celery
        makes them when they are used first.
        """
        return self._kind

    @Task.setter
    def Task(self, kind: type[tasks_.Task]) -> None:
        self._kind = kind
        for name, (function, options) in self._without_base.items():
            task = self.tasks[name]
            task.__class__ = kind
            vars(task).pop("plain", None)
            task.bind_to(self, name, options, function)

    def make_task(self, function: Any, options: Any) -> tasks_.Task:
        """As :meth:`decant.tasks.Tasks.make_task`."""
        made = super().make_task(function, options)
        if not options.get("base") and made is not function and not made.name.startswith("decant."):
            given = {key: value for key, value in options.items() if key not in ("name", "base", "shadow_name")}
            self._without_base[made.name] = (function, given)
        return made

    # -- settings --------------------------------------------------------------------------------------------------

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """As :meth:`decant.tasks.Tasks.config_from_object`, with the names of settings of every version of Celery."""
        if isinstance(obj, str):
            try:
                obj = _imported(obj)
            except ImportError:
                if silent:
                    return
                raise
        self._conf.update(settings_of(obj, namespace or self.namespace))

    def set_current(self) -> None:
        """Be the one that is meant where no other is current."""
        super().set_current()
        _latest[:] = [self]

    set_default = set_current

    # -- where its jobs are ----------------------------------------------------------------------------------------

    def _app(self, app: Any = None) -> Any:
        self.settle()
        return self._site

    def settle(self, app: flask.Flask | None = None) -> None:
        """Settle where the jobs are, once.

        :param app: the Flask application whose configuration counts; by default the current one, else see
            :func:`.beside.flask_of`.
        :raises ConfigError: see :func:`.place.found`; also ``DatabaseUnavailable``.
        """
        if self._site is not None:
            return
        app = app or _current_flask() or flask_of(self)
        config = {} if app is None else dict(app.config)
        place = wait(found(self._conf, config))  # not under the lock: who waits for that may hold the loop
        with self._settling:
            if self._site is None:
                self._open(place, config)

    def _open(self, place: Place, config: dict[str, Any]) -> None:
        site = Site(__name__, static_folder=None, root_path="/", instance_path="/")  # it has no files
        ours = ("TASKS_", "REDIS_")
        site.config.update({key: value for key, value in config.items() if key.startswith(ours)})
        site.config.update(
            TASKS_REDIS_URL=place.redis_url,
            TASKS_DATABASE_URL=place.database_url,
            TASKS_DURABLE=place.database_url is not None,
            SQLALCHEMY_PGBOUNCER=config.get("SQLALCHEMY_PGBOUNCER", False),
        )
        self.init_app(site)
        self._site = site
        if place.why:
            logger.warning(
                "the jobs of %r are in Redis alone, and lost with it: %s. Set TASKS_DATABASE_URL to a PostgreSQL to"
                " keep them, and for chords",
                *(self.main, place.why),
            )
        unused = sorted(key for key in self._conf.said if key in REPLACED and key != "result_backend")
        if unused:
            logger.info("settings of Celery that have no effect: %s", ", ".join(unused))

    @io_method
    async def finalize(self, auto: bool = False) -> None:
        """As :meth:`decant.tasks.Tasks.finalize`; receivers may wait."""
        await bridged(super().finalize(auto))

    def close(self) -> None:
        """What it has open ends with its loop."""


def _current_flask() -> flask.Flask | None:
    found: Any = flask.current_app._get_current_object() if flask.has_app_context() else None  # type: ignore[attr-defined]
    return found if isinstance(found, flask.Flask) else None  # share_proxies() has a Quart application there


def _class(name: str) -> Any:
    module, _, attribute = name.replace(":", ".").rpartition(".")
    return getattr(import_module(module), attribute)


def current_celery() -> Any:
    """The twin that is meant here: the running task's, the current Flask application's, or the latest.

    :raises RuntimeError: if there is none.
    """
    running = current()
    if running is not None and isinstance(running[0].app, Celery):
        return running[0].app
    if flask.has_app_context():
        own = twin_of(flask.current_app.extensions.get("celery"))
        if isinstance(own, Celery):
            return own
    if not _latest:
        raise RuntimeError("there is no Celery application yet: make one, `app = Celery(__name__, broker=…)`")
    return _latest[0]


def shared_task(*args: Any, **options: Any) -> Any:
    """Celery's: a task of every application, made before or after; what it stands for is the current one's."""

    def share(function: Any) -> Any:
        name = options.get("name") or f"{function.__module__}.{function.__name__}"
        tasks_.shared_task(**{**options, "name": name})(function)
        return LocalProxy(lambda: faced(current_celery().tasks[name]))

    if len(args) == 1 and callable(args[0]):
        return share(args[0])
    if args:
        raise TypeError(f"shared_task takes options by keyword, as in @shared_task(name='x'), not {args!r}")
    return share


def _running() -> Any:
    found = current()
    return None if found is None else found[0].plain


current_app: Any = LocalProxy(lambda: faced(current_celery()))
current_task: Any = LocalProxy(_running)
