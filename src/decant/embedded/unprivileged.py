"""PostgreSQL refuses to run as root: which user it runs as then, and what that user must be able to reach."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EmbeddedError

__all__ = ["Account", "account_for"]

# Existing users only, best first: adding one to the system is not ours to do.
_CANDIDATES = ("postgres", "pgserver", "nobody")


@dataclass(frozen=True)
class Account:
    """The user of a subprocess; ``None`` is the current one, which is not root."""

    entry: pwd.struct_passwd | None

    @property
    def subprocess_options(self) -> dict[str, Any]:
        """For :class:`subprocess.Popen`."""
        if self.entry is None:
            return {}
        return {"user": self.entry.pw_uid, "group": self.entry.pw_gid, "extra_groups": []}

    def give(self, folder: Path) -> None:
        """Make it the user's own."""
        if self.entry is not None:
            os.chown(folder, self.entry.pw_uid, self.entry.pw_gid)

    def reaches(self, folder: Path) -> bool:
        """Whether the user can come to it, by the permissions of the folders above."""
        return self.entry is None or not self._closed(folder)

    @contextmanager
    def path_to(self, folder: Path) -> Iterator[tuple[str, list[int]]]:
        """A path by which a subprocess of the user reaches it, and the descriptors to pass on for that.

        On Linux a descriptor leads through closed folders (``/root``, pytest's temporary ones), which stay closed.
        """
        if self.reaches(folder):
            yield str(folder), []
        elif sys.platform == "linux":
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                yield f"/proc/self/fd/{descriptor}", [descriptor]
            finally:
                os.close(descriptor)
        else:
            self._open_way(folder)
            yield str(folder), []

    def let_run(self, programs: Path) -> None:
        """Let the user run what a wheel installed, below folders that may be closed, perhaps with a strict umask.

        Folders on the way get the permission to pass through, not to list, and only where it is missing.
        """
        if self.entry is None:
            return
        self._open_way(programs)
        self._let_run(programs)

    def _closed(self, folder: Path) -> list[Path]:
        assert self.entry is not None
        found = []
        for parent in folder.resolve().parents:
            status = parent.stat()
            needed = stat.S_IXUSR if status.st_uid == self.entry.pw_uid else stat.S_IXOTH
            if not status.st_mode & needed:
                found.append(parent)
        return found

    def _open_way(self, folder: Path) -> None:
        for parent in self._closed(folder):
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | stat.S_IXOTH)

    def _let_run(self, programs: Path) -> None:
        command = [str(programs / "postgres"), "--version"]
        try:
            if subprocess.run(command, capture_output=True, timeout=30, **self.subprocess_options).returncode == 0:
                return
        except PermissionError:
            pass
        package = programs.parents[1]
        for root in package.parent.glob(f"{package.name}*"):  # its libraries are in a folder beside it
            for path in (root, *root.rglob("*")):
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod(mode | stat.S_IRGRP | stat.S_IROTH | (0o011 if mode & stat.S_IXUSR else 0))


def account_for(data: Path) -> Account:
    """Whom to run as on this data.

    :raises EmbeddedError: as root on a system without a suitable user.
    """
    if os.geteuid() != 0:
        return Account(None)
    owner = data.stat().st_uid if (data / "PG_VERSION").exists() else 0
    for candidate in (owner, *_CANDIDATES):
        try:
            entry = pwd.getpwuid(candidate) if isinstance(candidate, int) else pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is none of the users "
        + ", ".join(_CANDIDATES)
        + ": run as an ordinary user, add one of these, or set DATABASE_URL"
    )
