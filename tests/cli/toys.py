"""Toy projects, and processes whose output is read as it comes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

APP = """
    import os
    from quart import Quart

    app = Quart(__name__)

    @app.get("/")
    async def index():
        return {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL", "DATA_DIR")}

    @app.get("/pid")
    async def pid():
        return str(os.getpid())
"""
JOBS = """
    import asyncio, os
    from arq.connections import RedisSettings

    async def hello(ctx):
        print("job says hello", flush=True)

    async def slow(ctx):
        print("job begins", flush=True)
        await asyncio.sleep(1)
        print("job ends", flush=True)

    async def startup(ctx):
        print("worker started", flush=True)

    async def shutdown(ctx):
        print("worker shut down", flush=True)

    class WorkerSettings:
        functions = [hello, slow]
        on_startup, on_shutdown = startup, shutdown
        poll_delay = 0.05
        queue_name = "arq:" + os.getcwd()
        redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
        redis_settings.conn_retry_delay = 0.1
"""


class Project:
    """A folder with an application and its jobs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("pyproject.toml", '[tool.decant]\napp = "toy:app"\nworker = "toyjobs:WorkerSettings"\n')
        self.write("toy.py", APP)
        self.write("toyjobs.py", JOBS)

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(textwrap.dedent(text))


class Running:
    """A ``decant`` process, whose lines are kept as they come."""

    def __init__(self, arguments: list[str], cwd: Path, environment: dict[str, str]) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL", "DATA_DIR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "decant.cli", *arguments],
            cwd=cwd,
            env=inherited | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def expect(self, pattern: str, timeout_s: float = 90.0) -> str:
        """Wait for output that matches; its first group."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.output, re.MULTILINE)):
            assert time.monotonic() < deadline, f"{pattern!r} did not come, but:\n{self.output}"
            assert self.reader.is_alive() or re.search(pattern, self.output, re.MULTILINE), self.output
            time.sleep(0.02)
        return found.group(1) if found.groups() else found.group()

    def url(self) -> str:
        """Wait for the banner."""
        return self.expect(r"^decant +\| (http://\S+)$")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, timeout_s: float = 90.0) -> int:
        """Wait for the end; the exit status."""
        status = self.process.wait(timeout_s)
        self.reader.join(timeout_s)
        return status

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, word: str) -> psutil.Process:
        """The child process that has the word in its command line."""
        [found] = [child for child in self.children() if word in child.cmdline()]
        return found


def gone(process: psutil.Process) -> bool:
    """Whether it has ended; a zombie, for want of an init process, has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], T], timeout_s: float = 30.0) -> T:
    """Wait until it is true; what it was."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return found


Start = Callable[..., Running]
