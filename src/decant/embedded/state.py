"""The folder of one server: its locks, its logs, and what its keeper says of it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

__all__ = ["Folder", "State"]

_TAIL_LINES = 12
_LOG_LIMIT_BYTES = 5_000_000


@dataclass(frozen=True)
class State:
    """Written by the keeper. ``pid`` and ``born`` (seconds since 1970) name the server's process for all time.

    ``temporary`` is a folder of the server's outside the data directory.
    """

    pid: int = 0
    born: float = 0.0
    durable: bool = True
    url: str = ""
    error: str = ""
    temporary: str = ""


@dataclass(frozen=True)
class Folder:
    """Paths in the folder of one server; ``title`` is the server's name for people."""

    path: Path
    title: str

    @property
    def start_lock(self) -> Path:
        """Held by the one user that starts or joins the server now."""
        return self.path / "start.lock"

    @property
    def users_lock(self) -> Path:
        """Shared by all users; the keeper takes it alone to stop."""
        return self.path / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper as long as it lives."""
        return self.path / "keeper.lock"

    @property
    def data(self) -> Path:
        """The server's own files."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What the server writes to its standard output and error."""
        return self.path / "server.log"

    @property
    def _state(self) -> Path:
        return self.path / "state.json"

    def make(self) -> None:
        """Create it; others than the owner (and, as root, PostgreSQL's user) cannot list it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)

    def read(self) -> State | None:
        """The keeper's last word, if there is a legible one."""
        try:
            return State(**json.loads(self._state.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, state: State) -> None:
        """Replace it in one step, legible for the owner only: the URL has a password."""
        partial = self.path / "state.json.new"
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(state), file)
        partial.replace(self._state)

    def forget(self) -> None:
        """Remove it: no server runs."""
        self._state.unlink(missing_ok=True)

    def expire(self) -> None:
        """Take back what an earlier keeper said, except what a leftover of its is to be stopped by."""
        state = self.read()
        if state is not None:
            self.write(replace(state, url="", error=""))

    def open_log(self) -> BinaryIO:
        """The server's log, to append to; the one before the limit is kept as ``server.log.1``."""
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
            self.log.replace(self.path / "server.log.1")
        return open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def open_keeper_log(self) -> BinaryIO:
        """The keeper's own output: empty unless it fails."""
        return open(os.open(self.path / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")

    def log_tail(self) -> str:
        """The last lines of the server's log, set off as a paragraph, or nothing."""
        return _tail(self.log)

    def keeper_tail(self) -> str:
        """The same of the keeper's."""
        return _tail(self.path / "keeper.log")


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return ""
    return f"\n{path}:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
