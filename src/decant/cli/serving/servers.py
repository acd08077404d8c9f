"""Hypercorn, uvicorn and Granian, each told to serve inherited sockets on the running loop until an event is set."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from ...errors import CommandError
from .options import Options
from .settings import read_settings
from .whole import Loop, OneWrite

__all__ = ["accept_no_more", "check_installed", "described", "listen", "loop_factory", "serving"]

_BACKLOG = 1024
Serve = Callable[[Any, Options, asyncio.Event], Coroutine[Any, Any, None]]


def check_installed(server: str) -> None:
    """
    :raises CommandError: if it is not installed.
    """
    if find_spec(server) is None:
        raise CommandError(f"--server {server}: it is not installed: pip install {server}")


def described(options: Options) -> str:
    """Its name and version, and its event loop."""
    title = {"hypercorn": "Hypercorn", "uvicorn": "uvicorn", "granian": "Granian"}[options.server]
    return f"{title} {version(options.server)} on {'uvloop' if _wants_uvloop(options) else 'asyncio'}"


def loop_factory(options: Options) -> Callable[[], asyncio.AbstractEventLoop]:
    """asyncio's event loop, or uvloop's where Hypercorn's configuration says ``worker_class = "uvloop"``.

    :raises CommandError: if that is not installed.
    """
    if not _wants_uvloop(options):
        return Loop
    try:
        import uvloop
    except ImportError:
        raise CommandError(f"{options.config} has worker_class = 'uvloop': pip install uvloop") from None

    class OnUvloop(OneWrite, uvloop.Loop):  # type: ignore[misc]
        pass

    return OnUvloop


def _wants_uvloop(options: Options) -> bool:
    return options.config is not None and _hypercorn_config(options).worker_class == "uvloop"


def serving(server: str) -> Serve:
    """The function that serves."""
    return {"hypercorn": _hypercorn, "uvicorn": _uvicorn, "granian": _granian}[server]


def _hypercorn_config(options: Options) -> Any:
    from hypercorn.config import Config

    return Config() if options.config is None else Config.from_mapping(read_settings(options.config))


async def _hypercorn(app: Any, options: Options, stop: asyncio.Event) -> None:
    from hypercorn.asyncio import serve

    config = _hypercorn_config(options)
    config.bind = [f"fd://{descriptor}" for descriptor in options.descriptors]
    config.workers, config.debug = 1, False
    config.graceful_timeout, config.shutdown_timeout = options.drain_s, options.drain_s  # what is open ends before
    config.backlog = max(config.backlog, _BACKLOG)
    _check_certificate(config, options)
    if config.errorlog == "-":
        config.errorlog = _quiet("hypercorn.error")
    if options.access_log and config.accesslog is None:
        config.accesslog = logging.getLogger("hypercorn.access")
    await serve(app, config, shutdown_trigger=stop.wait, mode="asgi")


def _check_certificate(config: Any, options: Options) -> None:
    """Before anybody is told that this process is ready, which Hypercorn would not be."""
    try:
        config.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        files = f"certfile = {config.certfile!r} and keyfile = {config.keyfile!r}"
        raise CommandError(f"--config {options.config} has {files}: {error}") from error


async def _uvicorn(app: Any, options: Options, stop: asyncio.Event) -> None:
    import uvicorn

    _quiet("uvicorn.error")
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=options.access_log,
        proxy_headers=False,  # it would believe every local client; --proxy-headers counts hops
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, round(options.drain_s)),
    )
    server = uvicorn.Server(config)
    sockets = [socket.socket(fileno=descriptor) for descriptor in options.descriptors]
    watching = asyncio.create_task(_then(stop, lambda: setattr(server, "should_exit", True)))
    try:
        await server.serve(sockets)
    finally:
        watching.cancel()


async def _granian(app: Any, options: Options, stop: asyncio.Event) -> None:
    from granian.server.embed import Server

    [descriptor] = options.descriptors
    _quiet("_granian")
    server = _listening_at(descriptor, Server)(
        app, interface="asgi", log_enabled=False, log_access=options.access_log, backlog=_BACKLOG
    )
    logging.getLogger("_granian").setLevel(logging.ERROR)
    watching = asyncio.create_task(_then(stop, server.stop))
    try:
        await server.serve()
    finally:
        watching.cancel()


def _listening_at(descriptor: int, server: type) -> Any:
    """Granian's server class, with a socket that it did not make: on Linux it would listen beside, with SO_REUSEPORT,
    and what waits in its own queue would be lost whenever a process ends."""
    from granian import net

    holder: Any = getattr(net, "SocketHolder")  # noqa: B009  # its stubs know neither that nor its arguments
    bound = socket.socket(fileno=descriptor)
    local = bound.family == socket.AF_UNIX
    bound.detach()

    class Listening(server):  # type: ignore[misc]
        def _init_shared_socket(self) -> None:
            self._shd, self._ssp, self._sfd = holder(descriptor, local, _BACKLOG), None, descriptor

    return Listening


def listen(descriptors: Sequence[int]) -> None:
    """Let connections queue; also where those of a former server of the address are still closing."""
    for descriptor in descriptors:
        bound = socket.socket(fileno=descriptor)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.listen(_BACKLOG)
        bound.detach()


def accept_no_more(options: Options) -> None:
    """Let the others have the connections that come from now on, while this process still answers on those it has.

    asyncio is told to; others, uvloop and Granian, find a socket at the same descriptor to which nobody can connect.
    Granian needs the time that this gives it: it would stop only when no connection is waiting, and would close those
    that have come but not said anything yet.
    """
    loop = asyncio.get_running_loop()
    for descriptor in options.descriptors:
        if not isinstance(loop, asyncio.SelectorEventLoop) or not loop.remove_reader(descriptor):
            with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as nowhere:
                nowhere.bind(f"{folder}/nowhere")
                nowhere.listen()
                nowhere.setblocking(False)
                os.dup2(nowhere.fileno(), descriptor, inheritable=False)


async def _then(event: asyncio.Event, act: Callable[[], object]) -> None:
    await event.wait()
    act()


def _quiet(name: str) -> logging.Logger:
    """The server's logger, without a line for each process that begins and ends."""
    logger = logging.getLogger(name)
    if logger.getEffectiveLevel() < logging.WARNING and logging.getLogger().getEffectiveLevel() > logging.DEBUG:
        logger.setLevel(logging.WARNING)
    return logger
