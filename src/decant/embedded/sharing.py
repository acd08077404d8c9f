"""The user's side of a shared server: join it, or have a keeper start it; leave it, and wait if it was the last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import EmbeddedError
from .locks import Lock, is_locked
from .servers import server_class
from .state import Folder, State

__all__ = ["Shared", "share"]

_POLL_S = 0.02
_STOP_TIMEOUT_S = 30.0
# It imports what its user can, wherever it runs. It forks at once, so that its user has no child to reap.
_KEEPER = "import sys; sys.path[:] = {path!r}; from decant.embedded.keeper import main; main({arguments!r})"


@dataclass(frozen=True)
class Shared:
    """A server that runs at least until the block ends."""

    url: str
    folder: Folder

    def check(self) -> None:
        """Raise if the server has died or was stopped.

        :raises EmbeddedError: with its last log lines.
        """
        if not is_locked(self.folder.keeper_lock):
            state = self.folder.read()
            reason = f": {state.error}" if state is not None and state.error else self.folder.log_tail()
            raise EmbeddedError(f"the embedded {self.folder.title} has ended{reason}")


@contextmanager
def share(kind: str, data_dir: Path, *, durable: bool, timeout_s: float) -> Iterator[Shared]:
    """Run or join the server of ``kind`` in ``data_dir`` while the block runs."""
    server = server_class(kind)
    server.find_programs()
    folder = Folder(data_dir.resolve() / kind, server.title)
    deadline = time.monotonic() + timeout_s
    with _explained(folder):
        folder.make()
        users = Lock(folder.users_lock)
    owner = os.getpid()
    try:
        with _one_starts(folder, deadline):
            users.shared(deadline)
            state = _join(kind, folder, durable, deadline)
        if durable and not state.durable:
            raise EmbeddedError(f"{folder.path} is in use with durable=False: use another data directory, or wait")
        yield Shared(state.url, folder)
    finally:
        if os.getpid() == owner:  # else a forked child leaves the block, not its parent
            users.release()
            _wait_if_last(users, folder)
        users.close()


@contextmanager
def _explained(folder: Folder) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise EmbeddedError(f"{folder.path} belongs to another user: {error}") from error
    except OSError as error:
        raise EmbeddedError(f"{folder.path} cannot be used as a data directory: {error}") from error


@contextmanager
def _one_starts(folder: Folder, deadline: float) -> Iterator[None]:
    lock = Lock(folder.start_lock)
    try:
        lock.exclusive(deadline)
        yield
    finally:
        lock.release()
        lock.close()


def _join(kind: str, folder: Folder, durable: bool, deadline: float) -> State:
    """What the keeper says of the running server; a keeper is started if there is none."""
    started = False
    while time.monotonic() < deadline:
        if is_locked(folder.keeper_lock):
            state = folder.read()
            if state is not None and state.url:
                return state
        elif not started:
            started = _start_keeper(kind, folder, durable, deadline)
        else:
            state = folder.read()
            reason = state.error if state is not None and state.error else f"its keeper ended{folder.keeper_tail()}"
            raise EmbeddedError(f"the embedded {folder.title} did not start: {reason}")
        time.sleep(_POLL_S)
    raise EmbeddedError(f"the embedded {folder.title} did not start in time{folder.log_tail()}")


def _start_keeper(kind: str, folder: Folder, durable: bool, deadline: float) -> bool:
    """Start a keeper that inherits its lock: from here on it is held until the keeper ends."""
    lock = Lock(folder.keeper_lock)
    try:
        if not lock.try_exclusive():
            return False
        folder.expire()
        timeout_s = max(1.0, deadline - time.monotonic())
        arguments = json.dumps([kind, str(folder.path), durable, timeout_s, lock.descriptor])
        path = [str(Path(entry).absolute()) for entry in sys.path]
        with folder.open_keeper_log() as log:
            subprocess.run(
                [sys.executable, "-c", _KEEPER.format(path=path, arguments=arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={k: v for k, v in os.environ.items() if not k.startswith(("PG", "COVERAGE", "COV_"))},
                pass_fds=[lock.descriptor],
                start_new_session=True,
                check=True,
                timeout=timeout_s,
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(f"the keeper of {folder.title} cannot be started: {error}{folder.keeper_tail()}") from error
    finally:
        lock.close()
    return True


def _wait_if_last(users: Lock, folder: Folder) -> None:
    """Return when another process uses the server, or when it has been stopped."""
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while time.monotonic() < deadline and is_locked(folder.keeper_lock):
        if users.try_exclusive():
            users.release()  # nobody uses it: the keeper is about to see that
        elif users.try_shared():
            users.release()
            return  # others use it
        time.sleep(_POLL_S)
    with suppress(OSError):
        users.release()
