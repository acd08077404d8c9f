"""PostgreSQL refuses to run as root: which user it runs as then, and what that user must be able to reach."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
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

    def give(self, folder: Path, *, programs: Path | None = None) -> None:
        """Make it the user's own and let the user reach it, and the programs.

        Folders on the way that others cannot enter (``/root``, pytest's temporary ones) get the permission to
        pass through, not to list, and only where it is missing.
        """
        if self.entry is None:
            return
        os.chown(folder, self.entry.pw_uid, self.entry.pw_gid)
        self._let_through(folder)
        if programs is not None:
            self._let_through(programs)
            self._let_run(programs)

    def _let_through(self, folder: Path) -> None:
        for parent in folder.resolve().parents:
            mode = parent.stat().st_mode
            if not mode & stat.S_IXOTH and parent.stat().st_uid != self._uid:
                parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)

    def _let_run(self, programs: Path) -> None:
        """A wheel that was installed with a strict umask is not legible for other users."""
        command = [str(programs / "postgres"), "--version"]
        try:
            if subprocess.run(command, capture_output=True, timeout=30, **self.subprocess_options).returncode == 0:
                return
        except PermissionError:
            pass
        for folder, _, files in os.walk(programs.parents[1]):
            for path in (Path(folder), *(Path(folder, name) for name in files)):
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod(mode | stat.S_IRGRP | stat.S_IROTH | (0o011 if mode & stat.S_IXUSR else 0))

    @property
    def _uid(self) -> int:
        assert self.entry is not None
        return self.entry.pw_uid


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
