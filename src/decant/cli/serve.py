"""``decant serve``: an application, Flask's or ASGI's, in production."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ..errors import CommandError
from .binding import Address, bound_socket, url_of
from .project import Project
from .serving.options import SERVERS, Options
from .serving.servers import check_installed
from .serving.targets import Target

__all__ = ["serve"]

_LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False)
_DEFAULT_BIND = "127.0.0.1:8000"
_FILES = ("wsgi.py", "app.py", "asgi.py")
Bind = tuple[str, int] | str


class _Bind(Address):
    """Also ``unix:PATH``."""

    name = "HOST:PORT|unix:PATH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split it."""
        if isinstance(value, str) and value.startswith("unix:") and len(value) > 5:
            return value
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
    "-b", "--bind", "binds", type=_Bind(), multiple=True, help=f"Where to listen.  [default: {_DEFAULT_BIND}]"
)
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Hypercorn's configuration, a TOML file.")
@click.option("--server", type=click.Choice(SERVERS), default="hypercorn", show_default=True, help="What serves.")
@click.option("--proxy-headers", "hops", type=click.IntRange(0, 10), default=0, help="Proxies that set X-Forwarded-….")
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
        sockets = [stack.enter_context(_listening(bind)) for bind in binds or _binds(settings)]
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
        return asyncio.run(_supervised(options, sockets))


async def _supervised(options: Options, sockets: list[socket.socket]) -> int:
    from .serving.banner import banner
    from .serving.supervisor import Supervisor

    def say(text: str) -> None:
        click.echo(f"decant serve: {text}", err=True)

    def started(facts: dict[str, Any]) -> None:
        click.echo(banner(options, facts, [_shown(sock, options) for sock in sockets]), err=True)

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
    try:
        settings = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"--config {config} cannot be read: {error}") from error
    for key in ("insecure_bind", "quic_bind"):
        if settings.get(key):
            raise CommandError(f"--config {config} has {key}: decant serve listens where bind says, and nowhere else")
    return settings


def _binds(settings: dict[str, Any]) -> list[Bind]:
    given = settings.get("bind") or [_DEFAULT_BIND]
    return [_Bind().convert(one, None, None) for one in ([given] if isinstance(given, str) else given)]


def _listening(bind: Bind) -> socket.socket:
    return _unix_socket(bind.removeprefix("unix:")) if isinstance(bind, str) else bound_socket(*bind)


def _unix_socket(path: str) -> socket.socket:
    """A socket in the file system; a file of one that nobody listens on is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                if other.connect_ex(path) == 0:
                    raise CommandError(f"--bind unix:{path}: another program listens there")
            os.unlink(path)
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise CommandError(f"--bind unix:{path}: {error.strerror or error}") from error
    except CommandError:
        sock.close()
        raise
    return sock


def _shown(sock: socket.socket, options: Options) -> str:
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    return url_of(sock)
