"""``celery``: Celery's names over :mod:`decant.tasks`, so that code written for it runs unchanged."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, Final, NamedTuple

from .... import tasks
from ....errors import missing_extra
from ....faces import face
from ....tasks import errors, registry, states
from ..table import Module, names

try:
    from .app import Celery, current_app, current_task, shared_task
    from .canvas import CANVAS, CONTROL, RESULTS, allow_join_result, maybe_signature, result_from_tuple, signature
    from .signals import SIGNALS, Signal
    from .task import Task
    from .testing import start_worker
except ModuleNotFoundError as error:
    raise missing_extra("the face of Celery", "tasks", error) from error

__all__ = ["MODULES"]


class _Version(NamedTuple):
    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


_VERSION: Final = _Version(5, 7, 0, "", "")  # whose interface it has
_APP: Final = face(Celery)
_CANVAS: Final = {
    **CANVAS,
    "signature": signature,
    "subtask": signature,
    "maybe_signature": maybe_signature,
}
_WORKERS: Final = "run `decant worker --faces module:celery`"
_NO_AMQP: Final = "there is no AMQP: jobs are in Redis and PostgreSQL"
_MONITOR: Final = "decant.monitor shows workers, jobs and events"


def get_task_logger(name: str) -> logging.Logger:
    """The logger of a module of tasks; records say by themselves which job they are of."""
    return logging.getLogger(name)


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """A schedule of seconds or a timedelta; what is one already is returned."""
    if isinstance(s, int | float):
        s = timedelta(seconds=s)
    return tasks.schedule(s, relative=relative) if isinstance(s, timedelta) else s


def app_or_default(app: Any = None) -> Any:
    """The application itself, or the current one."""
    return current_app._get_current_object() if app is None else app


def set_default_app(app: Any) -> None:
    """Let it be the one that is meant where no other is current."""
    app.set_default()


def _ping() -> str:
    """The task that tests of workers ask for."""
    return "pong"


_PING: Final = shared_task(name="celery.ping")(_ping)


_EXCEPTIONS: Final = {name: value for name, value in names(errors, *errors.__all__).items() if name != "TasksError"}
_EXCEPTIONS_ABSENT: Final = {
    "IncompleteStream": "results are not streamed",
    "SecurityError": "messages are not signed, and run no code",
    **dict.fromkeys(("WorkerShutdown", "WorkerTerminate"), "workers are stopped by SIGTERM, or control.shutdown()"),
    **dict.fromkeys(
        (
            *("CeleryWarning", "AlwaysEagerIgnored", "DuplicateNodenameWarning", "DuplicateTaskNameWarning"),
            *("FixupWarning", "NotConfigured", "SecurityWarning", "CPendingDeprecationWarning", "CDeprecationWarning"),
        ),
        "warnings are Python's own UserWarning and DeprecationWarning",
    ),
}
_SIGNALS_ABSENT: Final = dict.fromkeys(
    ("eventlet_pool_started", "eventlet_pool_preshutdown", "eventlet_pool_postshutdown", "eventlet_pool_apply"),
    "workers have no eventlet pool",
)
_TOP_ABSENT: Final = {
    **dict.fromkeys(("bin", "worker", "apps", "concurrency", "bootsteps", "__main__"), _WORKERS),
    **dict.fromkeys(("backends", "loaders", "fixups"), "results are asked for with AsyncResult(id)"),
    "beat": "every worker keeps the schedule: set app.conf.beat_schedule",
    "events": _MONITOR,
    "platforms": "workers are processes in the foreground, kept by a supervisor",
    "security": "messages are not signed, and run no code",
    "bugreport": "`decant worker` says at its start what it runs",
    "maybe_patch_concurrency": "nothing is patched",
    **dict.fromkeys(("VERSION_BANNER", "SERIES"), "it is __version__"),
    "local": "it is werkzeug.local.LocalProxy",
}
_LOG: Final = {"get_task_logger": get_task_logger, "get_logger": get_task_logger}

MODULES: Final = {
    "celery": Module(
        {
            "Celery": _APP,
            "Task": Task,
            "current_app": current_app,
            "current_task": current_task,
            "shared_task": shared_task,
            "uuid": tasks.uuid,
            **_CANVAS,
            "__version__": "5.7.0",
            "VERSION": _VERSION,
            "version_info": _VERSION,
        },
        _TOP_ABSENT,
    ),
    "celery._state": Module(
        {
            "current_app": current_app,
            "current_task": current_task,
            "get_current_app": app_or_default,
            "get_current_task": lambda: current_task._get_current_object(),
            "set_default_app": set_default_app,
        }
    ),
    "celery.app": Module(
        {
            "Celery": _APP,
            "app_or_default": app_or_default,
            "default_app": current_app,
            "shared_task": shared_task,
        },
        {
            **dict.fromkeys(("AppPickler", "bugreport", "enable_trace", "disable_trace"), "it has no counterpart"),
            **dict.fromkeys(("push_current_task", "pop_current_task"), "current_task says which one runs"),
            **dict.fromkeys(("amqp", "routes"), _NO_AMQP),
            **dict.fromkeys(("trace", "autoretry", "builtins", "annotations", "log", "events"), "it is the worker's"),
            **dict.fromkeys(("utils", "defaults"), "app.conf has the settings"),
        },
    ),
    "celery.app.base": Module({"Celery": _APP}),
    "celery.app.control": Module({**CONTROL}, {"flatten_reply": "replies come by worker"}),
    "celery.app.registry": Module({"TaskRegistry": registry.TaskRegistry}),
    "celery.app.task": Module({"Task": Task, "Context": tasks.Context}),
    "celery.canvas": Module(_CANVAS),
    "celery.contrib": Module(
        {},
        {
            "abortable": "revoke(terminate=True) stops a job at its next wait",
            "pytest": "decant.tasks.testing has fixtures, celery_worker among them",
            "migrate": _NO_AMQP,
            "rdb": "use breakpoint() with a worker in the foreground",
            "sphinx": "tasks have their functions' docstrings",
        },
    ),
    "celery.contrib.testing": Module(
        {},
        {"app": "use an application of your own, and start_worker", "manager": "results have get(timeout=…)"},
    ),
    "celery.contrib.testing.tasks": Module({"ping": _PING}),
    "celery.contrib.testing.worker": Module(
        {"start_worker": start_worker, "allow_join_result": allow_join_result},
        {
            **dict.fromkeys(("TestWorkController", "setup_app_for_worker"), "use start_worker"),
            **dict.fromkeys(("test_worker_starting", "test_worker_started", "test_worker_stopped"), "use start_worker"),
            "WORKER_LOGLEVEL": "logging is that of the tests",
        },
    ),
    "celery.exceptions": Module(_EXCEPTIONS, _EXCEPTIONS_ABSENT),
    "celery.result": Module(
        {**RESULTS, "result_from_tuple": result_from_tuple, "allow_join_result": allow_join_result}
    ),
    "celery.schedules": Module(
        {"crontab": tasks.crontab, "schedule": tasks.schedule, "maybe_schedule": maybe_schedule},
        {
            "solar": "it has no counterpart; a task of every minute can look at the sun",
            **dict.fromkeys(("crontab_parser", "ParseException"), "crontab raises ValueError"),
        },
    ),
    "celery.signals": Module({**SIGNALS}, _SIGNALS_ABSENT),
    "celery.states": Module(names(states, *states.__all__), {"state": "states are texts"}),
    "celery.utils": Module(
        {"uuid": tasks.uuid, "gen_unique_id": tasks.uuid},
        {"cached_property": "it is functools.cached_property", "nodenames": "workers are host:pid:number"},
    ),
    "celery.utils.dispatch": Module({"Signal": Signal}),
    "celery.utils.log": Module(_LOG, {"ColorFormatter": "logging is that of the application"}),
}
