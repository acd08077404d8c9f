"""PostgreSQL and Valkey (the Redis protocol) for development and tests, from wheels: nothing to install or start.

::

    with services(Path(".data")) as servers:
        serve(servers.database_url, servers.redis_url)

Each server lives in its own folder of the data directory, next to a small *keeper* process that starts it, waits
until no process uses it any more (it holds no pid: users hold a lock that the kernel drops with them, however
they end) and stops it. On Linux a server also dies with its keeper.

Nothing here is for production: PostgreSQL trusts whoever reaches its socket, which only its own user and root can.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .sharing import Shared, share

__all__ = ["Services", "Shared", "postgresql", "services", "valkey"]


@dataclass(frozen=True)
class Services:
    """Where the two servers listen: URLs for SQLAlchemy, libpq and redis-py."""

    database_url: str
    redis_url: str


@contextmanager
def services(data_dir: Path, *, durable: bool = True, timeout_s: float = 60.0) -> Iterator[Services]:
    """Run both servers while the block runs, unless another process runs them already.

    Several processes, and several blocks in one process, share the servers of one data directory; these stop
    within a second of the end of the last, which waits for it. A process that is forked in the block counts as a user
    until the block ends or the process does. What the servers store stays in the data directory.

    :param durable: ``False``, for tests, neither syncs nor saves.
    :param timeout_s: the deadline of each server's start (and of waiting for one that stops).
    :raises EmbeddedError: if a wheel is missing, or a server does not start: with its last log lines.
    """
    with (
        postgresql(data_dir, durable=durable, timeout_s=timeout_s) as database,
        valkey(data_dir, durable=durable, timeout_s=timeout_s) as redis,
    ):
        yield Services(database.url, redis.url)


@contextmanager
def postgresql(data_dir: Path, *, durable: bool = True, timeout_s: float = 60.0) -> Iterator[Shared]:
    """PostgreSQL alone: ``postgresql://postgres@/postgres?host=<folder of the socket>``, as a superuser."""
    with share("postgresql", data_dir, durable=durable, timeout_s=timeout_s) as shared:
        yield shared


@contextmanager
def valkey(data_dir: Path, *, durable: bool = True, timeout_s: float = 60.0) -> Iterator[Shared]:
    """Valkey alone: ``redis://:<password>@127.0.0.1:<port>/0``."""
    with share("valkey", data_dir, durable=durable, timeout_s=timeout_s) as shared:
        yield shared
