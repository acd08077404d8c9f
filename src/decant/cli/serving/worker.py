"""One serving process, as its parent sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...errors import CommandError
from .options import Options

__all__ = ["Worker"]

_START_TIMEOUT_S = 120.0


class Worker:
    """A process in a group of its own; what it writes goes where the parent's output goes."""

    def __init__(self, process: asyncio.subprocess.Process, report: asyncio.StreamReader, pipe: Any) -> None:
        self.process, self._report, self._pipe = process, report, pipe
        self.started_at = time.monotonic()
        self.was_ready = False

    @classmethod
    async def start(cls, options: Options, environment: Mapping[str, str]) -> Worker:
        """Start it; on Linux it is told to stop when this process ends, however that happens."""
        from ...embedded.servers import die_with_parent  # not on Windows

        ours, theirs = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "decant.cli.serving.process", options.as_argument(), str(theirs)),
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
                pass_fds=[*options.descriptors, theirs],
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        reader = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb")
        )
        return cls(process, reader, pipe)

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started_at

    async def ready(self) -> dict[str, Any]:
        """Wait until it serves; what it says of itself.

        :raises CommandError: if it does not come to that: it has ended then.
        """
        reading, ending = asyncio.create_task(self._report.readline()), asyncio.create_task(self.process.wait())
        try:
            both = (reading, ending)
            done, _ = await asyncio.wait(both, timeout=_START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if ending in done or (reading in done and not reading.result()):
                await asyncio.wait(both, timeout=1.0)  # its last words, or the end that has closed the pipe
            line = reading.result() if reading.done() else b""
        finally:
            reading.cancel()
            ending.cancel()
            self._pipe.close()
        message: dict[str, Any] = json.loads(line) if line else {}
        if "ready" in message:
            self.was_ready, ready = True, dict(message["ready"])
            return ready
        await self.stop(0.0 if not message else 5.0)
        if message:
            raise CommandError(message["failed"])
        if not done:
            raise CommandError(f"{self} was not ready within {_START_TIMEOUT_S:g} s, and was killed")
        raise CommandError(f"{self} {self.end()} before it was ready")

    async def ended(self) -> None:
        """Wait for its end; what it has started and left behind is killed."""
        await self.process.wait()
        self.kill()

    async def stop(self, grace_s: float) -> bool:
        """Ask it to end; after ``grace_s`` kill it and what it started. Whether it ended by itself."""
        if self.process.returncode is not None:
            return True  # and what it left behind was killed
        self.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), grace_s)
        except TimeoutError:
            self.kill()
            await self.process.wait()
            return False
        self.kill()
        return True

    def terminate(self) -> None:
        """Ask it to end. Not by ``Process.send_signal``, which may take its exit status from asyncio."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and what it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> str:
        """How it ended, in words."""
        status = self.process.returncode
        if status is None:
            return "did not end"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def __str__(self) -> str:
        return f"process {self.process.pid}"
