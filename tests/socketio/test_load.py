"""Many clients, and those that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from decant.quart import Quart
from decant.socketio import SocketIO
from tests.serving import serve
from tests.socketio.conftest import Connect, make_app, until

CLIENTS = 500


@asynccontextmanager
async def websocket(http: aiohttp.ClientSession, url: str) -> AsyncIterator[Any]:
    """A Socket.IO client made of nothing but its packets."""
    async with http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket") as socket:
        await socket.receive_str()
        await socket.send_str("40")
        assert (await socket.receive_str()).startswith("40")
        yield socket


@pytest.mark.parity(
    "socketio", "emit(event, *args, namespace, to/room, include_self, skip_sid, callback, ignore_queue)"
)
async def test_500_clients_each_receive_a_broadcast(app: Quart) -> None:
    """Each of ten, once and in order."""
    socketio = SocketIO(app, ping_interval=600)  # these clients answer no ping

    async def listen(http: aiohttp.ClientSession, url: str) -> list[str]:
        async with websocket(http, url) as socket:
            connected.release()
            return [await socket.receive_str() for _ in range(10)]

    connected = asyncio.Semaphore(0)
    async with serve(app) as url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        listening = [asyncio.create_task(listen(http, url)) for _ in range(CLIENTS)]
        async with asyncio.timeout(100):
            for _ in range(CLIENTS):
                await connected.acquire()
            assert socketio.server.clients == CLIENTS
            for number in range(10):
                await socketio.emit("n", number)
            received = await asyncio.gather(*listening)
            assert received == [[f'42["n",{number}]' for number in range(10)]] * CLIENTS
            while socketio.server.clients:
                await asyncio.sleep(0.01)


async def _read_until(reader: asyncio.StreamReader, text: bytes) -> None:
    """The stream's own ``readuntil`` needs a limit that the text fits in."""
    seen = b""
    while text not in seen:
        came = await asyncio.wait_for(reader.read(4096), 30)
        assert came, seen
        seen += came


@pytest.mark.parametrize("bound", [{"SOCKETIO_MAX_BUFFER": 50}, {"SOCKETIO_MAX_BUFFER_BYTES": 2_000_000}])
async def test_a_client_that_does_not_read_is_disconnected(bound: dict[str, int], connect: Connect) -> None:
    """At a bounded buffer, counted in packets or in bytes; who reads hears everything, without delay."""
    app = make_app(**bound)
    socketio, reasons = SocketIO(app), asyncio.Queue[str]()

    @socketio.on("disconnect")
    async def disconnected(reason: str) -> None:
        await reasons.put(reason)

    async with serve(app) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), limit=1)
        writer.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await _read_until(reader, b"0{")
        writer.write(bytes([0x81, 0x82, 0, 0, 0, 0]) + b"40")  # a masked text frame: connect
        await _read_until(reader, b"40{")  # the last that it reads
        attentive = await connect(url)
        async with asyncio.timeout(40):
            sent = 0
            while reasons.empty():
                await socketio.emit("n", "x" * 100_000)
                sent += 1
                assert await attentive.next() == ("n", "x" * 100_000)
        assert await reasons.get() == SocketIO.reason.TRANSPORT_ERROR
        assert sent < 200
        await until(lambda: len(socketio.server.manager.rooms["/"][None]) == 1)
        await until(lambda: len(socketio.server.eio.connections) == 1)  # its task ends, too
        assert attentive.connected
        writer.transport.abort()
        await attentive.disconnect()


async def test_a_client_that_floods_is_read_only_as_fast_as_it_is_handled(connect: Connect) -> None:
    """At most so many of its events are handled at a time; all are, in the end. Nobody else is held up meanwhile."""
    app = make_app(SOCKETIO_MAX_EVENTS=5)
    socketio = SocketIO(app)
    entered, gate = asyncio.Semaphore(0), asyncio.Semaphore(0)
    running = most = 0

    @socketio.event
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        entered.release()
        await gate.acquire()
        running -= 1

    @socketio.event
    async def other() -> int:
        return running

    async with serve(app) as url:
        client, witness = await connect(url), await connect(url)
        for _ in range(200):
            await client.emit("work")
        async with asyncio.timeout(60):
            for _ in range(5):
                await entered.acquire()
            seen = [await witness.call("other", timeout=60) for _ in range(20)]
            for _ in range(195):  # each that ends lets one more in
                gate.release()
                await entered.acquire()
        for _ in range(5):
            gate.release()
        await client.disconnect()
        await witness.disconnect()
    assert (seen, most, running) == ([5] * 20, 5, 0)
