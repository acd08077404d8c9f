"""A PostgreSQL and a Valkey of a benchmark's own, to be stopped, killed and started again in their places."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from decant.embedded.postgresql_server import PostgreSQL
from decant.embedded.state import Folder
from decant.embedded.valkey_server import Valkey as Embedded

__all__ = ["Postgres", "Valkey", "free_port", "wait_until"]


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Look every 10 ms.

    :raises TimeoutError: names ``what``.
    """
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took longer than {timeout_s:g} s")
        time.sleep(0.01)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Valkey:
    """Without persistence, on a fixed port: what it holds is gone when it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = Embedded.find_programs() / "valkey-server"
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, cwd=self.folder)
        wait_until(lambda: self.says("PING") == b"+PONG\r\n", "the start of Valkey")

    def says(self, command: str) -> bytes:
        """The answer to a command without arguments, or nothing."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
                connection.sendall(command.encode() + b"\r\n")
                return connection.recv(1000)
        except OSError:
            return b""

    def stop(self) -> None:
        """At once, as a machine that fails."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Postgres:
    """In ``folder``; ``durable`` syncs its files."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        files = Folder(folder / "postgresql", "PostgreSQL")
        files.make()
        self.server = PostgreSQL(files, durable=durable)
        self.server.prepare()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        process = self.process = self.server.spawn()

        def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended with {process.returncode}{self.server.folder.log_tail()}")
            return self.server.is_ready(process)

        wait_until(ready, "the start of PostgreSQL")

    def stop(self) -> None:
        """Fast: connections are closed, transactions rolled back."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def close(self) -> None:
        """For good: what it has outside of its folder is removed."""
        self.stop()
        if self.server.temporary is not None:
            shutil.rmtree(self.server.temporary, ignore_errors=True)
