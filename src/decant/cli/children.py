"""Child processes whose output goes into one stream, each line behind the name of its process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Child", "Stream"]

_LONGEST_LINE_BYTES = 64 * 1024
_AFTER_END_S = 2.0
_WIDTH = len("migrate")
_COLOURS = {"decant": "1", "migrate": "33", "web": "36", "worker": "35"}  # SGR: bold, yellow, cyan, magenta


class Stream:
    """The one log stream: ``name | line``, coloured on a terminal unless ``NO_COLOR`` is set.

    :param on_broken: called when nobody reads the stream any more.
    """

    def __init__(self, on_broken: Callable[[], None]) -> None:
        self.on_broken = on_broken
        self.coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def write(self, name: str, line: str) -> None:
        """Write a line of the process of that name."""
        prefix = f"{name:<{_WIDTH}} |"
        if self.coloured:
            prefix = f"\033[{_COLOURS.get(name, '0')}m{prefix}\033[0m"
        encoding = sys.stdout.encoding or "utf-8"
        try:
            sys.stdout.write(f"{prefix} {line}\n".encode(encoding, "backslashreplace").decode(encoding))
            sys.stdout.flush()
        except OSError:
            # What is left in the buffer would fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.on_broken()

    def say(self, text: str) -> None:
        """Write the command's own words."""
        for line in text.splitlines():
            self.write("decant", line)


class Child:
    """A process in a group of its own, so that the terminal's Ctrl-C leaves it to us to stop it in order."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, stream: Stream) -> None:
        self.name, self.process, self.stream = name, process, stream
        self._relay = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        stream: Stream,
        *,
        cwd: Path,
        env: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start it. On Linux it is terminated when this process ends, however that happens."""
        from ..embedded.servers import die_with_parent  # not on Windows

        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=cwd,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        return cls(name, process, stream)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        while chunk := await self.process.stdout.read(_LONGEST_LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) >= _LONGEST_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._write(line)
        if rest:
            self._write(rest)

    def _write(self, line: bytes) -> None:
        self.stream.write(self.name, line.decode(errors="replace").rstrip("\r"))

    async def ended(self) -> int:
        """Wait for its end and for what it has written; its status, negative if a signal killed it."""
        status = await self.process.wait()
        with suppress(TimeoutError):  # a grandchild may have kept the pipe open
            await asyncio.wait_for(asyncio.shield(self._relay), _AFTER_END_S)
        return status

    async def stop(self, grace_s: float) -> None:
        """Ask it to end; after ``grace_s`` kill it and what it started."""
        if self.process.returncode is None:
            self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), grace_s)
            except TimeoutError:
                self.stream.say(f"{self.name} did not stop within {grace_s:g} s and is killed")
        self.kill()
        await self.ended()
        self._relay.cancel()

    def kill(self) -> None:
        """Kill it and what it started, which may have outlived it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """Not by ``Process.send_signal``, which may take its exit status from asyncio."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def describe_end(self) -> str:
        """How it ended, in words."""
        status = self.process.returncode or 0
        if status < 0:
            return f"{self.name} was killed by {signal.Signals(-status).name}"
        return f"{self.name} ended with status {status}"
