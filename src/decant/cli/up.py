"""``decant up``: everything that the application needs, in one terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import CommandError, DecantError
from .binding import Address, bound_socket, is_listening, url_of
from .children import Child, Stream
from .project import Project

if TYPE_CHECKING:
    from ..embedded import Shared

__all__ = ["Up", "up"]

_GRACE_S = {"migrate": 10.0, "web": 10.0, "worker": 15.0}
_WATCH_INTERVAL_S = 0.5
_READY_INTERVAL_S = 0.05
# A wrapper may pass on a Ctrl-C that the terminal has sent to us as well.
_SAME_REQUEST_S = 0.25


class _Stopped(Exception):
    """Somebody asked us to stop."""


class _Ended(CommandError):
    """A child has ended of its own accord."""


@click.command()
@click.option("--bind", type=Address(), default="127.0.0.1:8000", show_default=True, help="Where to listen.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the embedded servers keep their data.  [default: .data beside pyproject.toml]",
)
def up(bind: tuple[str, int], data: Path | None) -> int:
    """Start everything: servers, migrations, web, worker.

    PostgreSQL and Valkey are embedded ones unless DATABASE_URL or REDIS_URL name others. One Ctrl-C stops all in order,
    a second one at once.
    """
    if sys.platform == "win32":
        raise CommandError("decant up needs Linux, macOS or the Windows Subsystem for Linux")
    project = Project.find(Path.cwd())
    if project.app is None:
        raise CommandError(f'[tool.decant] in {project.root / "pyproject.toml"} has no app, as in "app.asgi:app"')
    with bound_socket(*bind) as listener:
        return asyncio.run(Up(project, project.app, data or project.root / ".data", listener).run())


class Up:
    """One run of the command."""

    def __init__(self, project: Project, app: str, data: Path, listener: socket.socket) -> None:
        self.project, self.app, self.data, self.listener = project, app, data, listener
        self.asked_to_stop, self.asked_at = asyncio.Event(), 0.0
        self.stream = Stream(on_broken=self.asked_to_stop.set)
        self.children: list[Child] = []
        self.servers: list[Shared] = []
        self.environment = project.environment()
        self.environment.setdefault("DATA_DIR", str(data.resolve()))  # for what the application itself keeps

    async def run(self) -> int:
        """Run until told to stop (status 0) or until something fails (1)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._told_to_stop)
        status = 0
        with ExitStack() as servers:
            try:
                await self._start(servers)
                await self._watch()
            except _Stopped:
                self.stream.say("stopping")
            except DecantError as error:
                self.stream.say(str(error))
                status = 1
            for child in self.children:
                await child.stop(_GRACE_S[child.name])
            await asyncio.to_thread(servers.close)
        return status

    def _told_to_stop(self) -> None:
        now = time.monotonic()
        if not self.asked_to_stop.is_set():
            self.asked_at = now
        elif now - self.asked_at > _SAME_REQUEST_S:
            for child in self.children:
                child.kill()
            self.stream.say("stopped at once")
            os._exit(130)  # whoever keeps the servers sees that we are gone, and stops them properly
        self.asked_to_stop.set()

    async def _start(self, servers: ExitStack) -> None:
        await self._serve("DATABASE_URL", "postgresql", servers)
        await self._serve("REDIS_URL", "valkey", servers)
        await self._migrate()
        await self._start_web()
        if self.project.worker is not None:
            await self._start_child("worker", [sys.executable, "-m", "decant.cli", "worker"])
        while not await asyncio.to_thread(is_listening, self.listener):
            await self._watch(timeout_s=_READY_INTERVAL_S)
        self.stream.say(f"\n{url_of(self.listener)}\nCtrl-C stops everything\n")

    async def _serve(self, variable: str, kind: str, servers: ExitStack) -> None:
        """Have a server run, unless the variable says where one does."""
        if self.environment.get(variable):
            self.stream.say(f"{variable} is set: no embedded server")
            return
        from .. import embedded

        server = getattr(embedded, kind)(self.data)
        shared: Shared = await asyncio.to_thread(servers.enter_context, server)
        self.servers.append(shared)
        self.environment[variable] = shared.url
        self.stream.say(f"{shared.folder.title} runs, its data and log are in {shared.folder.path}")
        if self.asked_to_stop.is_set():
            raise _Stopped

    async def _migrate(self) -> None:
        child = await self._start_child("migrate", [sys.executable, "-m", "decant.cli.migrations", self.app])
        try:
            await self._watch()
        except _Ended:
            if child.process.returncode:
                raise CommandError(f"the migrations failed: {child.describe_end()}") from None
        self.children.remove(child)

    async def _start_web(self) -> None:
        configuration = self.project.root / "hypercorn.toml"
        command = [sys.executable, "-m", "hypercorn", "--bind", f"fd://{self.listener.fileno()}", "--workers", "0"]
        if configuration.is_file():
            command += ["--config", str(configuration)]  # which also says whether there is an access log
        else:
            command += ["--access-logfile", "-"]
        await self._start_child("web", [*command, self.app], pass_fds=[self.listener.fileno()])

    async def _start_child(self, name: str, command: list[str], pass_fds: Sequence[int] = ()) -> Child:
        child = await Child.start(
            name, command, self.stream, cwd=self.project.root, env=self.environment, pass_fds=pass_fds
        )
        self.children.append(child)
        return child

    async def _watch(self, timeout_s: float | None = None) -> None:
        """Return after the timeout; raise if we are told to stop, a child ends, or a server does."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        ends = {asyncio.create_task(child.ended()): child for child in self.children}
        stop = asyncio.create_task(self.asked_to_stop.wait())
        try:
            while deadline is None or time.monotonic() < deadline:
                done, _ = await asyncio.wait(
                    [stop, *ends], timeout=timeout_s or _WATCH_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED
                )
                if stop in done:
                    raise _Stopped
                for end in done:
                    raise _Ended(f"{ends[end].describe_end()}: stopping the rest")
                for server in self.servers:
                    server.check()
        finally:
            for task in (stop, *ends):
                task.cancel()
