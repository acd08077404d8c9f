"""The end of the server, noticed while its connections are still open.

ASGI tells an application of it with ``lifespan.shutdown``, which Hypercorn sends after its connections have ended; and
on Python 3.12 and newer it waits for these without a limit, so that one open WebSocket or endless stream keeps the
process until it is killed (hypercorn#308). What every server does first is to close the sockets that it
listens on. So while anything is served, this looks at those of the server that the connections came through: they
are known by their file descriptors, which are compared with what they were, by ``fstat``, four times a second.

Unlike a signal handler, this does not depend on who is signalled (Hypercorn's worker processes are told through shared
memory), leaves the signals to the server, and also notices a reload and ``max_requests``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, Protocol

from ..bridge import Threads

__all__ = ["Connections"]

logger = logging.getLogger("decant.quart")
_INTERVAL_S = 0.25
_FOLDER = "/dev/fd"  # Linux and macOS; where there is none, the end is noticed when the lifespan ends
_lookups = Threads(1, may_wait=False)
Listening = dict[int, tuple[int, int]]
"""File descriptors, each with the device and inode that it stands for."""
_CLOSED: Listening = {-1: (0, 0)}


class Connection(Protocol):
    """What is served now: a request or a WebSocket."""

    scope: Any

    def stop(self) -> None:
        """End it: what runs is cancelled, and torn down."""


class Connections:
    """What an application serves now, and its end when the server stops."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self.timeout_s = 0.0
        self._deadline: float | None = None
        self._listening: Listening | None = None
        self._lookup: asyncio.Task[None] | None = None
        self._finishing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def stopping(self) -> bool:
        """Whether the server has stopped to listen."""
        return self._deadline is not None

    def begin(self, timeout_s: float) -> None:
        """The server starts.

        :param timeout_s: how long requests and streams may go on after it has stopped.
        """
        self.timeout_s, self._deadline, self._listening = timeout_s, None, None

    def add(self, connection: Connection) -> None:
        """Begin to look after it."""
        self.open.add(connection)
        if self._listening is None and self._lookup is None:
            lookup = self._find(connection.scope.get("server"))
            self._lookup = asyncio.get_running_loop().create_task(lookup, context=Context())
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL_S, self._look)

    def discard(self, connection: Connection) -> None:
        """It has ended."""
        self.open.discard(connection)

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Let this go on after a connection has ended, until the server stops."""
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def stop(self) -> None:
        """The server stops: end everything, at most ``timeout_s`` from its first sign, and wait for that."""
        self._stopping()
        loop = asyncio.get_running_loop()
        while self.open and self._deadline is not None and loop.time() < self._deadline + _INTERVAL_S:
            self._end_due()
            await asyncio.sleep(0.01)
        for handle in (self._timer, self._lookup, *self._finishing):
            if handle is not None:
                handle.cancel()
        self._timer = self._lookup = None

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None and self._listening and not any(map(_is_open, self._listening.items())):
            logger.info("The server stops: %s requests and WebSockets are open", len(self.open))
            self._stopping()
        if self._deadline is not None:
            self._end_due()
        if self.open:  # or the next connection starts it again
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL_S, self._look)

    def _stopping(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self.timeout_s

    def _end_due(self) -> None:
        assert self._deadline is not None
        late = asyncio.get_running_loop().time() >= self._deadline
        for connection in list(self.open):
            if late or connection.scope["type"] == "websocket":
                connection.stop()

    async def _find(self, server: Any) -> None:
        self._listening = await _lookups.run(_listening_at, server)
        self._lookup = None


def _is_open(known: tuple[int, tuple[int, int]]) -> bool:
    try:
        found = os.fstat(known[0])
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == known[1]


def _listening_at(server: Any) -> Listening:
    """This process's listening sockets of an address, ``(host, port)`` or, for a Unix socket, ``None``.

    Where only connections to it are left, the server has stopped between the first of them and now.
    """
    found: Listening = {}
    only_connections = False
    with suppress(OSError):
        for name in os.listdir(_FOLDER):
            with suppress(OSError):  # not a socket, or closed by now
                listens = _listens(int(name), server)
                only_connections |= listens is False
                if listens:
                    status = os.fstat(int(name))
                    found[int(name)] = (status.st_dev, status.st_ino)
    return _CLOSED if only_connections and not found else found


def _listens(number: int, server: Any) -> bool | None:
    """Whether a socket of the server's address listens; ``None`` if it is of another."""
    sock = socket.socket(fileno=number)
    try:
        name = sock.getsockname()
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            is_ours = bool(server) and name[1] == server[1]
        else:  # a pair's sockets have no name
            is_ours = bool(name) and (not server or server[1] is None)
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) if is_ours else None
    finally:
        sock.detach()
