"""``decant worker``: runs the jobs of an application, or of plain arq settings."""

from __future__ import annotations

import asyncio
import logging
import sys
from inspect import isclass
from pathlib import Path
from typing import Any

import click

from ..errors import CommandError, ConfigError, missing_extra
from ..faces import twin_of
from ..flask.async_db import use_async_drivers
from ..flask.installing import install
from .arqworker import JobRunner
from .celeries import celery_in, settled
from .logs import log_to_stderr
from .project import Project, load_target

__all__ = ["worker"]

logger = logging.getLogger("decant.worker")
_POSITIVE = click.IntRange(min=1)
_LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False)


@click.command()
@click.argument("target", required=False)
@click.option("-Q", "--queues", help="Queues to serve, as a,b or with weights a=3,b=1.")
@click.option("-c", "--concurrency", type=_POSITIVE, help="Jobs at once.")
@click.option("--grace", type=click.FloatRange(0, 86400), help="Seconds in which running jobs may end after SIGTERM.")
@click.option("-n", "--name", help="Its name for the monitor and the control channel; by default the host's.")
@click.option("--burst", is_flag=True, help="End when nothing waits.")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), help="Seconds after which a task is stopped.")
@click.option(
    "--soft-time-limit", type=click.FloatRange(0, min_open=True), help="Seconds after which a task is told to end."
)
@click.option("--max-tasks-per-child", type=_POSITIVE, help="Jobs after which a process of process=True is replaced.")
@click.option("--max-memory-per-child", type=_POSITIVE, help="KiB of memory after which such a process is replaced.")
@click.option("--faces", is_flag=True, help="TARGET is written for Celery: its imports give Decant's faces.")
@click.option("-l", "--loglevel", type=_LEVELS, default="INFO", show_default=True, help="What is logged.")
def worker(target: str | None, loglevel: str, faces: bool, **options: Any) -> int:
    """Run the jobs of TARGET.

    TARGET is what decant.tasks.worker_settings made, an application with tasks such as app.asgi:app, the Tasks
    themselves, or plain arq settings, for which arq's own worker is used. Without it, what [tool.decant] of
    pyproject.toml names as worker, or else as app. With --faces it is what `celery -A` takes, as legacy:celery, or a
    Flask application with a Celery.

    SIGTERM and Ctrl-C let running jobs end within the grace time, then give them back; a second one does it at once.
    """
    replaced = install() if faces else []
    if faces:
        use_async_drivers()  # an application's URLs name the drivers that it has had so far
    found, name = _found(target, faces)
    log_to_stderr(loglevel.upper(), "%(asctime)s %(levelname)s %(name)s: %(message)s")
    if faces:
        logger.info("imports were replaced by faces: %s", ", ".join(replaced))
        found = settled(found)
    settings = found if isclass(found) or isinstance(found, dict) else _settings(found, name)
    given = {key: value for key, value in options.items() if value is not None and value is not False}
    if isinstance(getattr(settings, "app_hooks", None), tuple):
        return _run_ours(settings, given)
    return asyncio.run(JobRunner(settings, **_for_arq(given, name)).run())


def _found(target: str | None, faces: bool) -> tuple[Any, str]:
    """The object, and what errors call it."""
    if target is not None:
        sys.path.insert(0, str(Path.cwd()))
        load = celery_in if faces and ":" not in target else load_target
        return load(target, "TARGET"), f"TARGET {target!r}"
    project = Project.find(Path.cwd())
    project.extend_import_path()
    for key, named in (("tool.decant.worker", project.worker), ("tool.decant.app", project.app)):
        if named is not None:
            return load_target(named, key), f"{key} {named!r}"
    raise CommandError(
        f"[tool.decant] in {project.root / 'pyproject.toml'} has neither worker nor app: name one, or a TARGET"
    )


def _settings(found: Any, name: str) -> type:
    """Settings for an application, or for its tasks."""
    try:
        from ..tasks.extension import Tasks
        from ..tasks.worker.settings import worker_settings
    except ImportError as error:
        raise missing_extra("decant worker", "tasks", error) from error
    if isinstance(twin_of(found), Tasks):
        tasks, app = twin_of(found), _only_app(twin_of(found), name)
    else:
        app = found
        tasks = twin_of(getattr(found, "extensions", {}).get("tasks"))
        if tasks is None:
            raise CommandError(
                f"{name} has no tasks to run: it is neither arq settings nor an application with"
                f" Tasks().init_app(app), nor (with --faces) one with Celery, but {found!r}"
            )
    return worker_settings(tasks, app)


def _only_app(tasks: Any, name: str) -> Any:
    try:
        return tasks.runtime().app
    except RuntimeError as error:
        raise CommandError(f"{name}: these tasks have no application, or several; name the application") from error


def _run_ours(settings: Any, given: dict[str, Any]) -> int:
    from ..tasks.worker.service import run_worker

    conf = settings.tasks.conf
    for option in ("time_limit", "soft_time_limit"):
        if option in given:
            conf[f"task_{option}"] = given.pop(option)
    for option in ("max_tasks_per_child", "max_memory_per_child"):
        if option in given:
            conf[f"worker_{option}"] = given.pop(option)
    if "concurrency" in given:
        conf["worker_concurrency"] = given["concurrency"]  # of threads as well
    given["grace_s"] = given.pop("grace", None)
    try:
        asyncio.run(run_worker(settings, **given))
    except ConfigError as error:
        raise CommandError(f"--{error}") from error
    return 0


def _for_arq(given: dict[str, Any], name: str) -> dict[str, Any]:
    known = {"concurrency": "max_jobs", "grace": "job_completion_wait", "burst": "burst"}
    for option in given:
        if option not in known:
            raise CommandError(
                f"--{option.replace('_', '-')} is for the tasks of an application; {name} is plain arq settings"
            )
    return {known[option]: value for option, value in given.items()}
