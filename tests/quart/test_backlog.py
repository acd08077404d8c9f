"""WebSocket messages that a handler does not read: bounded, and the client's end is noticed nevertheless."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from decant import Quart
from decant.errors import ConfigError
from decant.quart import websocket
from decant.quart.connections import WebsocketConnection
from tests.quart.test_sockets import Memory, until, websocket_client

MESSAGE = 32_000
COUNT = 1_500  # 48 MB


def long_frame(payload: bytes) -> bytes:
    return bytes([0x82, 0x80 | 126]) + len(payload).to_bytes(2) + bytes(4) + payload


async def flood(writer: asyncio.StreamWriter, progress: list[int]) -> None:
    for number in range(COUNT):
        writer.write(long_frame(number.to_bytes(4) + bytes(MESSAGE - 4)))
        await writer.drain()
        progress.append(number)


def is_full(connection: Any) -> bool:
    return isinstance(connection, WebsocketConnection) and connection.backlog.unread_bytes >= 256 * 1024


async def test_messages_wait_for_their_reader(app: Quart, served: Any) -> None:
    """48 MB for a handler that does not read yet: the client waits, memory stays flat; later all arrive, in order."""
    go, done = asyncio.Event(), asyncio.Event()
    numbers: list[int] = []

    @app.websocket("/")
    async def view() -> None:
        await websocket.accept()
        await go.wait()
        while len(numbers) < COUNT:
            message = await websocket.receive()
            numbers.append(int.from_bytes(message[:4]))  # type: ignore[arg-type]
        done.set()

    _, writer, status = await websocket_client(await served(app))
    assert status == 101
    sent: list[int] = []
    memory = await asyncio.to_thread(Memory().__enter__)
    flooding = asyncio.create_task(flood(writer, sent))
    await asyncio.sleep(0.5)
    assert not flooding.done()
    go.set()
    await asyncio.wait_for(done.wait(), 100)
    await flooding
    await asyncio.to_thread(memory.__exit__)
    writer.close()
    assert numbers == list(range(COUNT))
    assert memory.peak < 30 * 1024 * 1024


@pytest.mark.parametrize("client", ["gone", "there"])
async def test_what_is_not_read_for_too_long_ends_the_websocket(app: Quart, served: Any, client: str) -> None:
    """Past the bound nothing is received, a disconnect neither: after WEBSOCKET_UNREAD_TIMEOUT it is closed, 1008."""
    app.config["WEBSOCKET_UNREAD_TIMEOUT"] = 0.3
    seen: list[Any] = []

    @app.websocket("/")
    async def view() -> None:
        await websocket.accept()
        await asyncio.Event().wait()

    @app.teardown_websocket
    async def teardown(error: BaseException | None) -> None:
        seen.append(websocket.close_code)

    reader, writer, _ = await websocket_client(await served(app))
    flooding = asyncio.create_task(flood(writer, []))
    await until(lambda: seen or any(is_full(connection) for connection in app.connections.open))
    if client == "gone":
        flooding.cancel()
        writer.transport.abort()
    else:
        assert (await asyncio.wait_for(reader.readexactly(4), 60))[2:] == (1008).to_bytes(2)
    await until(lambda: seen)
    await asyncio.gather(flooding, return_exceptions=True)
    writer.close()
    assert seen == [1008]


async def test_a_reader_that_keeps_up_is_never_closed(app: Quart, served: Any) -> None:
    """However long it lasts: only what waits counts, and a disconnect is noticed at once."""
    app.config["WEBSOCKET_UNREAD_TIMEOUT"] = 1
    read: list[int] = []
    ended: list[Any] = []

    @app.websocket("/")
    async def view() -> None:
        try:
            while True:
                read.append(len(await websocket.receive()))
                await asyncio.sleep(0.02)  # all of them take longer than the timeout
        finally:
            ended.append(websocket.close_code)

    _, writer, _ = await websocket_client(await served(app))
    for _ in range(60):  # 1.9 MB
        writer.write(long_frame(bytes(MESSAGE)))
        await writer.drain()
    await until(lambda: len(read) == 60)
    assert ended == []
    writer.transport.abort()
    await until(lambda: ended)
    assert ended == [1006]


async def test_a_wrong_timeout_stops_the_start(app: Quart) -> None:
    app.config["WEBSOCKET_UNREAD_TIMEOUT"] = "soon"
    with pytest.raises(ConfigError, match="WEBSOCKET_UNREAD_TIMEOUT"):
        await app.startup()
