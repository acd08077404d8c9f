"""Where ``decant serve`` listens: ``HOST:PORT`` and ``unix:PATH``, taken before anything is started."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from ...errors import CommandError
from ..binding import Address, bound_socket, url_of

__all__ = ["Bind", "BindType", "listening", "shown"]

Bind = tuple[str, int] | str


class BindType(Address):
    """Also ``unix:PATH``."""

    name = "HOST:PORT|unix:PATH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split it."""
        if isinstance(value, str) and value.startswith("unix:") and len(value) > 5:
            return value
        return super().convert(value, param, ctx)


@contextmanager
def listening(bind: Bind) -> Iterator[socket.socket]:
    """A bound socket that nobody can connect to yet; what it leaves in the file system is removed at the end.

    :raises CommandError: if the address cannot be had.
    """
    if not isinstance(bind, str):
        with bound_socket(*bind) as sock:
            yield sock
        return
    path = bind.removeprefix("unix:")
    with _unix_socket(path) as sock:
        made = os.stat(path)
        try:
            yield sock
        finally:
            with suppress(OSError):  # it may have been removed, or be another's by now
                if os.path.samestat(made, os.stat(path)):
                    os.unlink(path)


def _unix_socket(path: str) -> socket.socket:
    """A socket in the file system; a file of one that nobody listens on is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                if other.connect_ex(path) == 0:
                    raise CommandError(f"--bind unix:{path}: another program listens there")
            os.unlink(path)
        elif os.path.lexists(path):
            raise CommandError(f"--bind unix:{path}: it is there already, and is no socket")
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise CommandError(f"--bind unix:{path}: {error.strerror or error}") from error
    except CommandError:
        sock.close()
        raise
    return sock


def shown(sock: socket.socket, *, encrypted: bool) -> str:
    """Where a client finds it."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    url = url_of(sock)
    return url.replace("http:", "https:", 1) if encrypted else url
