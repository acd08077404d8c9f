"""An implementation that is served: its web processes and its worker, on servers of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.error import URLError
from urllib.request import urlopen

from tests.ports import kept_port

__all__ = ["SETTINGS", "Command", "Implementation", "NotStarted", "Running"]

SETTINGS = {
    "SECRET_KEY": "not so secret, for tests only",
    "CORS_ORIGINS": "https://pages.example,http://localhost:5173",
    "MAX_CONTENT_LENGTH": "65536",
    "RATE_LOGIN_ACCOUNT": "8 per 5 minutes",
    "RATE_LOGIN_ADDRESS": "30 per 5 minutes",
    "RATE_REGISTER": "6 per hour",
    "RATE_LINKS": "20 per minute",
    "RATE_IMPORTS": "5 per hour",
    "RATE_API": "150 per minute",
    "RATE_API_REFUSED": "10 per minute",
}
"""What every implementation is given, besides its database and its Redis."""
_START_S = 90
_GRACE_S = 15
_TAIL = 6000


class NotStarted(AssertionError):
    """A process that does not come up, with what it has logged."""


@dataclass(frozen=True)
class Command:
    """What is run, where, and with what besides :data:`SETTINGS` in its environment."""

    args: Sequence[str]
    folder: Path
    environment: Mapping[str, str]


class Implementation(Protocol):
    """One of those that keep the contract."""

    name: str
    about: str

    def missing(self) -> str | None:
        """Why it cannot be run here at all, if so."""

    def prepare(self) -> Sequence[Command]:
        """What makes its tables, each to its end."""

    def web(self, port: int) -> Command:
        """A web process on that port of 127.0.0.1."""

    def workers(self) -> Sequence[Command]:
        """What runs its jobs."""


class Running:
    """Started by :meth:`start`, ended by :meth:`stop`; a second web process is started when it is asked for."""

    def __init__(self, implementation: Implementation, environment: Mapping[str, str], logs: Path) -> None:
        self.implementation, self.logs = implementation, logs
        self._environment = {**os.environ, **SETTINGS, **environment, "PYTHONUNBUFFERED": "1"}
        for name in ("PYTEST_CURRENT_TEST", "COVERAGE_PROCESS_START"):
            self._environment.pop(name, None)
        self._processes: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._url, self._other_url = "", ""

    @property
    def url(self) -> str:
        return self._url

    def start(self) -> None:
        """Make the tables, start the web process and the worker; wait until it answers."""
        for number, command in enumerate(self.implementation.prepare()):
            log = self.logs / f"prepare-{number}.log"
            if (status := self._run(command, log).wait(_START_S)) != 0:
                raise NotStarted(f"{' '.join(command.args)} ended with {status}:\n{_tail(log)}")
        self._url = self._web("web")
        for number, command in enumerate(self.implementation.workers()):
            self._keep(command, f"worker-{number}")

    def other_url(self) -> str:
        """Where the second web process is."""
        if not self._other_url:
            self._other_url = self._web("web-2")
        return self._other_url

    def _web(self, name: str) -> str:
        with kept_port() as kept:
            port = int(kept.getsockname()[1])
            process, log = self._keep(self.implementation.web(port), name)
            url = f"http://127.0.0.1:{port}"
            self._wait_for(f"{url}/healthz", process, log)
        return url

    def _wait_for(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise NotStarted(f"{log.stem} ended with {process.returncode}:\n{_tail(log)}")
            with suppress(OSError, URLError), urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.1)
        raise NotStarted(f"{log.stem} does not answer /healthz:\n{_tail(log)}")

    def _keep(self, command: Command, name: str) -> tuple[subprocess.Popen[bytes], Path]:
        log = self.logs / f"{name}.log"
        process = self._run(command, log)
        self._processes.append((process, log))
        return process, log

    def _run(self, command: Command, log: Path) -> subprocess.Popen[bytes]:
        environment = {**self._environment, **command.environment}
        with log.open("wb") as stream:
            return subprocess.Popen(
                command.args,
                cwd=command.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # its children end with it
            )

    def ended(self) -> list[str]:
        """The processes that have ended by themselves."""
        return [f"{log.stem}: {process.poll()}" for process, log in self._processes if process.poll() is not None]

    def logged(self) -> dict[str, str]:
        """What each process has written."""
        return {log.stem: log.read_text(errors="replace") for _, log in self._processes}

    def stop(self) -> None:
        """End all of them: asked first, then killed."""
        for process, _ in self._processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + _GRACE_S
        for process, _ in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what is left of its group
            process.wait()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_TAIL:]
