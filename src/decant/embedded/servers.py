"""What a keeper needs to know of a server, and what both servers have in common."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from ..errors import EmbeddedError
from .state import Folder

__all__ = ["Server", "die_with_parent", "package_folder", "server_class"]

_PR_SET_PDEATHSIG = 1


class Server(ABC):
    """One server program and its data; made anew for each start."""

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    temporary: Path | None = None
    """A folder outside the data directory that the keeper removes after the end."""

    def __init__(self, folder: Folder, *, durable: bool) -> None:
        self.folder, self.durable = folder, durable

    @classmethod
    @abstractmethod
    def find_programs(cls) -> Path:
        """The folder of the wheel's programs.

        :raises EmbeddedError: if the wheel is not installed, with what to do.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Make the data directory ready: called once, before :meth:`spawn`."""

    @abstractmethod
    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the program."""

    @abstractmethod
    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it accepts commands yet."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it listens."""


def server_class(kind: str) -> type[Server]:
    """The class for ``"postgresql"`` or ``"valkey"``.

    :raises EmbeddedError: on an operating system that has neither.
    """
    if sys.platform == "win32":
        raise EmbeddedError("there are no embedded servers on Windows: give DATABASE_URL and REDIS_URL")
    from .postgresql_server import PostgreSQL
    from .valkey_server import Valkey

    return {"postgresql": PostgreSQL, "valkey": Valkey}[kind]


def package_folder(name: str, distribution: str, title: str, variable: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _not_installed(title, distribution, variable)
    if find_spec("psutil") is None:  # the keeper needs it, and it comes with the same extra
        raise _not_installed(title, "psutil", variable)
    return Path(spec.submodule_search_locations[0])


def _not_installed(title: str, distribution: str, variable: str) -> EmbeddedError:
    return EmbeddedError(
        f"the embedded {title} is not installed: pip install 'quart-decant[embedded]' brings {distribution}"
        f" where there is a wheel of it for {sys.platform} {platform.machine()}; elsewhere, set {variable} to the"
        " URL of a server of yours"
    )


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """A ``preexec_fn`` after which the kernel sends the signal when the starting thread ends; Linux only."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it ended before we asked

    return ask
