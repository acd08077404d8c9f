"""The keeper's side: a detached process that runs one server for as long as somebody uses it.

It holds ``keeper.lock`` from before its start (inherited, open) until its end, writes ``state.json``, and takes
``users.lock`` alone when no user holds it any more: no user can come in while it stops the server.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import psutil

from ..errors import EmbeddedError
from .locks import Lock
from .servers import Server, server_class
from .state import Folder, State

__all__ = ["Keeper", "main"]

_REAP_INTERVAL_S = 0.2
_POLL_S = 0.02
_STOP_TIMEOUT_S = 20.0
_ATTEMPTS = 3


def main(arguments: str) -> None:
    """Detach, then keep: ``arguments`` is the JSON of ``[kind, folder, durable, timeout_s, descriptor]``.

    ``descriptor`` is that of the locked ``keeper.lock``; it is never closed, so that the lock ends with us.
    """
    if os.fork():
        os._exit(0)  # our parent reaps this half; the other belongs to nobody
    kind, path, durable, timeout_s, _ = json.loads(arguments)
    server_type = server_class(kind)
    folder = Folder(Path(path), server_type.title)
    Keeper(server_type(folder, durable=durable), folder, timeout_s).run()


class Keeper:
    """Starts a server, waits for the last of its users to go, stops it."""

    def __init__(self, server: Server, folder: Folder, timeout_s: float) -> None:
        self.server, self.folder = server, folder
        self.deadline = time.monotonic() + timeout_s
        self.users = Lock(folder.users_lock)
        self.told_to_stop = False

    def run(self) -> None:
        """The keeper's whole life."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._tell_to_stop)
        process: subprocess.Popen[bytes] | None = None
        try:
            self._stop_leftover()
            self.server.prepare()
            process = self._start()
            self._keep(process)
            self.folder.forget()
        except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
            self.folder.write(State(error=f"{error}{self.folder.log_tail()}"))
        finally:
            if process is not None:
                self._stop(process)
            if self.server.temporary is not None:
                shutil.rmtree(self.server.temporary, ignore_errors=True)

    def _tell_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.told_to_stop = True

    def _stop_leftover(self) -> None:
        """Stop the server of a keeper that was killed: on Linux it is stopping already."""
        state = self.folder.read()
        self.folder.forget()
        if state is None:
            return
        if state.pid:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process = psutil.Process(state.pid)
                if abs(process.create_time() - state.born) < 1:  # else the number is another process's now
                    self._end(process)
        if state.temporary:
            shutil.rmtree(state.temporary, ignore_errors=True)

    def _end(self, process: psutil.Process) -> None:
        process.send_signal(self.server.stop_signal)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(_STOP_TIMEOUT_S)

    def _start(self) -> subprocess.Popen[bytes]:
        """Start it, again if it ends at once: its port may have been taken, its predecessor's memory still in use."""
        for attempts_left in range(_ATTEMPTS - 1, -1, -1):
            process = self.server.spawn()
            try:
                if self._becomes_ready(process):
                    return process
            except BaseException:
                self._stop(process)
                raise
            if attempts_left:
                time.sleep(_REAP_INTERVAL_S)
        raise EmbeddedError(f"it ended with status {process.returncode}")

    def _becomes_ready(self, process: subprocess.Popen[bytes]) -> bool:
        born, temporary = psutil.Process(process.pid).create_time(), str(self.server.temporary or "")
        state = State(process.pid, born, self.server.durable, temporary=temporary)
        self.folder.write(state)
        while not self.server.is_ready(process):
            if process.poll() is not None:
                return False
            if self.told_to_stop or time.monotonic() > self.deadline:
                raise EmbeddedError("it was not ready in time")
            time.sleep(_POLL_S)
        self.folder.write(replace(state, url=self.server.url))
        return True

    def _keep(self, process: subprocess.Popen[bytes]) -> None:
        while not self.told_to_stop and not self.users.try_exclusive():
            if process.poll() is not None:
                raise EmbeddedError(f"it ended with status {process.returncode}")
            time.sleep(_REAP_INTERVAL_S)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        for number, patience_s in ((self.server.stop_signal, _STOP_TIMEOUT_S), (signal.SIGKILL, _STOP_TIMEOUT_S)):
            if process.poll() is not None:
                return
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
