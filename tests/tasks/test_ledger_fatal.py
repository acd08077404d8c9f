"""PostgreSQL that says it goes, and is slow to close the connection: asyncpg then knows not what to do with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import pytest

from decant.tasks.job import Job
from decant.tasks.ledger import Ledger

FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
FATAL = b"E" + (len(FIELDS) + 4).to_bytes(4, "big") + FIELDS


class Between:
    """Carries what client and server say, and can say something of its own to the clients."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.clients: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.connections = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(cast(asyncio.Task[None], asyncio.current_task()))
        self.clients.append(writer)
        theirs, ours = await asyncio.open_unix_connection(self.server)
        await asyncio.gather(self._copy(reader, ours), self._copy(theirs, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def say_fatal(self) -> None:
        for writer in self.clients:
            writer.write(FATAL)
            await writer.drain()
        await asyncio.sleep(0.05)  # until asyncpg has read it


@pytest.fixture
def folder() -> Any:
    with TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
async def between(ledger_url: str, folder: Path) -> AsyncIterator[Between]:
    (host,) = parse_qs(urlsplit(ledger_url).query)["host"]
    made = Between(f"{host}/.s.PGSQL.5432")
    server = await asyncio.start_unix_server(made.carry, folder / ".s.PGSQL.5432")
    yield made
    server.close()
    for writer in made.clients:
        writer.close()
    await asyncio.sleep(0)  # the copies see it
    await asyncio.gather(*made.tasks)


async def test_a_connection_that_was_told_of_the_end_is_replaced(
    between: Between, ledger_url: str, folder: Path
) -> None:
    ledger = Ledger(f"{ledger_url.partition('?')[0]}?host={quote(str(folder))}")
    await ledger.read([uuid4()])
    await between.say_fatal()
    job = Job(id=uuid4(), task="t", queue="q", payload=b"")
    assert await ledger.insert([job]) == {job.id}
    assert between.connections == 2
    await ledger.aclose()
