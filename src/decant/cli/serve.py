"""``decant serve``: an application, Flask's or ASGI's, in production."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ..errors import CommandError
from .project import Project
from .serving.addresses import Bind, BindType, listening, shown
from .serving.options import SERVERS, Options
from .serving.servers import check_installed
from .serving.settings import read_settings
from .serving.targets import Target

__all__ = ["serve"]

_LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False)
_DEFAULT_BIND = "127.0.0.1:8000"
_FILES = ("wsgi.py", "app.py", "asgi.py")


class _Hops(click.IntRange):
    """A number of proxies, not the target that follows an option that other programs have as a flag."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).isdecimal():
            self.fail(f"{value!r} is no number of proxies, as in --proxy-headers 1", param, ctx)
        return super().convert(value, param, ctx)


@click.command()
@click.argument("target", required=False)
@click.option(
    "--views", type=click.Choice(["threads", "loop"]), help="Where a Flask app's views run.  [default: threads]"
)
@click.option("--faces", is_flag=True, help="Exchange Flask's extensions for Decant's, as decant.flask.install().")
@click.option("--async-db", is_flag=True, help="Open the database's URLs with async drivers, as --faces does too.")
@click.option("--threads", type=click.IntRange(1, 10_000), help="Threads for a Flask app's views.  [default: 40]")
@click.option("-w", "--workers", type=click.IntRange(1, 512), default=1, show_default=True, help="Processes.")
@click.option(
    "-b", "--bind", "binds", type=BindType(), multiple=True, help=f"Where to listen.  [default: {_DEFAULT_BIND}]"
)
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Hypercorn's configuration, a TOML file.")
@click.option("--server", type=click.Choice(SERVERS), default="hypercorn", show_default=True, help="What serves.")
@click.option("--proxy-headers", "hops", type=_Hops(0, 10), default=0, help="Proxies that set X-Forwarded-….")
@click.option("--drain", type=click.FloatRange(1, 3600), default=10.0, show_default=True, help="Seconds to end in.")
@click.option("--health", is_flag=True, help="Answer /healthz and /readyz.")
@click.option("--access-log", is_flag=True, help="Log each request.")
@click.option("-l", "--loglevel", type=_LEVELS, default="INFO", show_default=True, help="What is logged.")
def serve(target: str | None, binds: tuple[Bind, ...], config: Path | None, **given: Any) -> int:
    """Serve TARGET: module:app, module:factory('arg', key=1), a module, or a Python file.

    A Flask application is served by decant.flask.asgi; decant.Quart and other ASGI applications as they are. Without
    TARGET: what FLASK_APP says, or app in [tool.decant] of pyproject.toml, or wsgi.py, app.py, asgi.py here.

    SIGTERM and Ctrl-C: running requests end within --drain seconds, then everything does; a second one ends at once.
    SIGHUP replaces the processes one by one, without refusing a connection.
    """
    if sys.platform == "win32":
        raise CommandError("decant serve needs Linux, macOS or the Windows Subsystem for Linux")
    found, source, import_path = _target(target)
    Target.parse(found, source)
    check_installed(given["server"])
    settings = _settings(config, given["server"])
    with ExitStack() as stack:
        sockets = [stack.enter_context(listening(bind)) for bind in binds or _binds(settings, config)]
        if given["server"] == "granian" and len(sockets) > 1:
            raise CommandError("--server granian listens on one address: give --bind once")
        options = Options(
            target=found,
            source=source,
            import_path=import_path,
            config=None if config is None else str(config),
            descriptors=[sock.fileno() for sock in sockets],
            drain_s=given.pop("drain"),
            proxy_hops=given.pop("hops"),
            loglevel=given.pop("loglevel").upper(),
            **given,
        )
        if (count := settings.get("workers", 1)) > 1 and count != options.workers:
            click.echo(f"decant serve: workers = {count} of {config} is not used: give --workers {count}", err=True)
        encrypted = bool(settings.get("certfile") and settings.get("keyfile"))
        return asyncio.run(_supervised(options, sockets, [shown(sock, encrypted=encrypted) for sock in sockets]))


async def _supervised(options: Options, sockets: list[socket.socket], addresses: list[str]) -> int:
    from .serving.banner import banner
    from .serving.supervisor import Supervisor

    def say(text: str) -> None:
        click.echo(f"decant serve: {text}", err=True)

    def started(facts: dict[str, Any]) -> None:
        click.echo(banner(options, facts, addresses), err=True)

    return await Supervisor(options, sockets, {**os.environ, "PYTHONUNBUFFERED": "1"}, say, started).run()


def _target(given: str | None) -> tuple[str, str, list[str]]:
    """What to serve, what errors call it, and where its modules are."""
    here = [str(Path.cwd())]
    if given is not None:
        return given, "TARGET", here
    if named := os.environ.get("FLASK_APP"):
        return named, "FLASK_APP", here
    try:
        project = Project.find(Path.cwd())
    except CommandError:
        project = None
    if project is not None and project.app is not None:
        return project.app, "tool.decant.app", project.import_path
    for name in _FILES:
        if Path(name).is_file():
            return name, "the file", here
    raise CommandError(
        "there is nothing to serve: give a TARGET such as module:app, set FLASK_APP, or name app in [tool.decant] of"
        f" pyproject.toml; there is none of {', '.join(_FILES)} either"
    )


def _settings(config: Path | None, server: str) -> dict[str, Any]:
    if config is None:
        return {}
    if server != "hypercorn":
        raise CommandError(f"--config is for Hypercorn; --server {server} has none here")
    return read_settings(config)


def _binds(settings: dict[str, Any], config: Path | None) -> list[Bind]:
    given = settings.get("bind") or [_DEFAULT_BIND]
    try:
        return [BindType().convert(one, None, None) for one in ([given] if isinstance(given, str) else given)]
    except click.BadParameter as error:
        raise CommandError(f"--config {config} has bind = {given!r}: {error.message}") from error
