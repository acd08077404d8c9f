"""``decant tasks``: what ``celery status``, ``inspect``, ``control``, ``purge``, ``call`` and ``result`` are for."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import CommandError
from ..faces import twin_of
from ..flask.async_db import use_async_drivers
from ..flask.installing import install
from .celeries import celery_in, settled
from .project import Project, load_target

__all__ = ["tasks"]

_QUESTIONS = [
    "active",
    "active_queues",
    "clock",
    "conf",
    "ping",
    "query_task",
    "registered",
    "report",
    "reserved",
    "revoked",
    "scheduled",
    "stats",
]
_ORDERS = [
    "add_consumer",
    "cancel_consumer",
    "disable_events",
    "enable_events",
    "pause",
    "pool_grow",
    "pool_shrink",
    "rate_limit",
    "resume",
    "shutdown",
    "time_limit",
]
_destination = click.option("-d", "--destination", help="Workers, by id or name, separated by commas; by default all.")
_timeout = click.option(
    "-t", "--timeout", type=click.FloatRange(0.05, 3600), default=1.0, show_default=True, help="Seconds to wait."
)


@click.group()
@click.option("-A", "--app", "target", help="The application, as app.asgi:app; by default that of [tool.decant].")
@click.option("--faces", is_flag=True, help="The application is written for Celery: its imports give Decant's faces.")
@click.pass_context
def tasks(ctx: click.Context, target: str | None, faces: bool) -> None:
    """Ask and tell workers, and see to jobs. Answers are JSON."""
    ctx.obj = target, faces


def _run(ctx: click.Context, call: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run ``call(tasks)`` in a context of the application, bounded by what it does itself."""
    app, found = (_celery if ctx.obj[1] else _plain)(ctx.obj[0])
    return asyncio.run(_called(app, found, call))


def _plain(target: str | None) -> tuple[Any, Any]:
    """The application, and its tasks."""
    app = _app(target, load_target)
    found = twin_of(getattr(app, "extensions", {}).get("tasks"))
    if found is None:
        raise CommandError(f"the application {app!r} has no tasks: Tasks().init_app(app) is missing")
    return app, found


def _celery(target: str | None) -> tuple[Any, Any]:
    """What holds the settings of a Celery application, and that itself; ``target`` is as for the worker."""
    install()
    use_async_drivers()
    app = _app(target, load_target if target is None or ":" in target else celery_in)
    found = settled(app)
    if found is app:
        raise CommandError(f"{app!r} is no Celery application, and no Flask application that has one")
    return found.runtime().app, found


def _app(target: str | None, load: Callable[[str, str], Any]) -> Any:
    if target is not None:
        sys.path.insert(0, str(Path.cwd()))
        return load(target, "--app")
    project = Project.find(Path.cwd())
    project.extend_import_path()
    if project.app is None:
        raise CommandError(f"[tool.decant] in {project.root / 'pyproject.toml'} has no app: name one with --app")
    return load_target(project.app, "tool.decant.app")


async def _called(app: Any, found: Any, call: Callable[[Any], Awaitable[Any]]) -> Any:
    runtime = found.runtime(app)
    try:
        if hasattr(app, "before_serving"):
            async with app.app_context():
                return await call(found)
        with app.app_context():
            return await call(found)
    finally:
        await runtime.aclose()
        await runtime.redis.aclose()


def _show(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _json(text: str, kind: type, option: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CommandError(f"{option} {text!r} is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise CommandError(f"{option} {text!r} is no JSON {'array' if kind is list else 'object'}")
    return value


@tasks.command()
@_destination
@_timeout
@click.pass_context
def status(ctx: click.Context, destination: str | None, timeout: float) -> int:
    """List the workers that answer; fails if there are none."""
    replies = _run(ctx, lambda found: found.control.ping(_split(destination), timeout))
    for worker in sorted(name for reply in replies for name in reply):
        click.echo(f"{worker}: OK")
    click.echo(f"{len(replies)} {'worker answers' if len(replies) == 1 else 'workers answer'}")
    return 0 if replies else 1


@tasks.command()
@click.argument("question", type=click.Choice(_QUESTIONS))
@click.argument("arguments", nargs=-1)
@_destination
@_timeout
@click.pass_context
def inspect(
    ctx: click.Context, question: str, arguments: tuple[str, ...], destination: str | None, timeout: float
) -> int:
    """Ask workers: {worker: answer}. ARGUMENTS are ids for query_task, attributes for registered."""

    def ask(found: Any) -> Awaitable[Any]:
        asked: Any = getattr(found.control.inspect(_split(destination), timeout), question)
        answer: Awaitable[Any] = asked(*arguments) if question in ("query_task", "registered") else asked()
        return answer

    answers = _run(ctx, ask)
    _show(answers)
    return 0 if answers else 1


@tasks.command()
@click.argument("order", type=click.Choice(_ORDERS))
@click.argument("arguments", nargs=-1)
@_destination
@_timeout
@click.pass_context
def control(ctx: click.Context, order: str, arguments: tuple[str, ...], destination: str | None, timeout: float) -> int:
    """Tell workers. ARGUMENTS are Celery's: a number, a queue, a task and its rate, a task and its limits."""
    values = [_number(argument) for argument in arguments]

    def tell(found: Any) -> Awaitable[Any]:
        told = partial(getattr(found.control, order), destination=_split(destination), reply=True, timeout=timeout)
        answer: Awaitable[Any] = told(*values)
        return answer

    try:
        replies = _run(ctx, tell)
    except TypeError as error:
        raise CommandError(f"{order}: {error}") from error
    _show(replies)
    return 0 if replies else 1


def _number(text: str) -> str | float:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


@tasks.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_context
def purge(ctx: click.Context, force: bool) -> None:
    """Revoke every job that waits, in all queues."""
    if not force:
        click.confirm("All jobs that wait will be revoked. Go on?", abort=True)
    click.echo(f"{_run(ctx, lambda found: found.control.purge())} jobs were revoked")


@tasks.command()
@click.argument("ids", nargs=-1, required=True, type=click.UUID)
@click.option("--terminate", is_flag=True, help="Stop those that run, too.")
@click.pass_context
def revoke(ctx: click.Context, ids: tuple[Any, ...], terminate: bool) -> None:
    """Revoke jobs; shows their states after it."""
    states = _run(ctx, lambda found: found.runtime().revoke(list(ids), terminate, "SIGTERM"))
    for id_ in ids:
        click.echo(f"{id_}: {states.get(id_, 'unknown')}")


@tasks.command()
@click.argument("name")
@click.option("-a", "--args", "arguments", default="[]", help="Positional arguments, a JSON array.")
@click.option("-k", "--kwargs", "keywords", default="{}", help="Keyword arguments, a JSON object.")
@click.option("--countdown", type=float, help="Seconds until it is due.")
@click.option("--eta", help="The time at which it is due, ISO 8601.")
@click.option("--expires", type=float, help="Seconds after which it is not begun any more.")
@click.option("--queue", help="The queue.")
@click.pass_context
def call(ctx: click.Context, /, name: str, arguments: str, keywords: str, **options: Any) -> None:
    """Ask for a job of the task NAME; prints its id."""
    args, kwargs = _json(arguments, list, "--args"), _json(keywords, dict, "--kwargs")
    given = {key: value for key, value in options.items() if value is not None}
    click.echo(_run(ctx, lambda found: found.send_task(name, args, kwargs, **given)).id)


@tasks.command()
@click.argument("job", metavar="ID", type=click.UUID)
@click.option("--traceback", is_flag=True, help="Show the traceback of a failure instead.")
@click.option("--wait", type=click.FloatRange(0, 86400), help="Seconds to wait for it.")
@click.pass_context
def result(ctx: click.Context, job: Any, traceback: bool, wait: float | None) -> None:
    """Show the result of a job, or its state."""

    async def read(found: Any) -> Any:
        answer = found.AsyncResult(job)
        if wait is not None:
            await answer.get(timeout=wait, propagate=False)
        wanted = "traceback" if traceback else "result"
        return {"state": await answer.state, wanted: await getattr(answer, wanted)}

    try:
        _show(_run(ctx, read))
    except TimeoutError as error:
        raise CommandError(f"{job} has not ended within {wait:g} s") from error
