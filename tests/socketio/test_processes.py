"""Several web processes, each of its own Hypercorn, joined by Redis."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.socketio.conftest import Client, Connect

NODE = Path(__file__).with_name("node.py")
pytestmark = pytest.mark.parity("socketio", "message_queue URL")


class Node:
    """A web process."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process, self.url = process, url
        self.lines: list[str] = []
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().strip())

    async def said(self, text: str) -> None:
        async with asyncio.timeout(60):
            while not any(text in line for line in self.lines):
                assert self.process.returncode is None, self.lines
                await asyncio.sleep(0.02)

    async def stop(self) -> float:
        """SIGTERM; the seconds until it has ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.wait(), 60)
        await self.listening
        return time.monotonic() - started


Start = Callable[[], Awaitable[Node]]


@pytest.fixture
async def start(redis_url: str, channel: str) -> AsyncIterator[Start]:
    nodes: list[Node] = []

    async def start_node() -> Node:
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
            port = listening.getsockname()[1]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(NODE), str(listening.fileno()), redis_url, channel),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=[listening.fileno()],
            )
        node = Node(process, f"http://127.0.0.1:{port}")
        nodes.append(node)
        await node.said("Running on")
        return node

    yield start_node
    for node in nodes:
        if node.process.returncode is None:
            node.process.kill()
            await node.process.wait()
        await node.listening


async def until_heard(url: str, *clients: Client) -> None:
    """Until what one process emits reaches the clients of all: they have subscribed. Nothing else is on its way."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while any(client.received.empty() for client in clients):
            async with http.get(f"{url}/tell/ready"):
                await asyncio.sleep(0.05)
        async with http.get(f"{url}/tell/last"):
            for client in clients:
                while await client.next() != ("told", "last"):
                    pass


@pytest.mark.parity("socketio", "join_room, leave_room, close_room, rooms")
@pytest.mark.parity("socketio", "call(event, *args, namespace, to, timeout=60, ignore_queue)")
async def test_rooms_broadcasts_and_calls_reach_the_clients_of_all_processes(start: Start, connect: Connect) -> None:
    """And none twice; a client's answer finds its way back to the process that asked."""
    first, second = await asyncio.gather(start(), start())
    ann, bob, eve = await connect(first.url), await connect(second.url), await connect(second.url)

    async def question(value: int) -> int:
        return value * 2

    bob.on("question", question)
    for node in (first, second):
        await until_heard(node.url, ann, bob, eve)
    pids = [await client.call("join", "room", timeout=30) for client in (ann, bob)]
    assert pids[0] != pids[1]
    await ann.emit("tell", (None, "all"))
    assert [await client.next() for client in (ann, bob, eve)] == [("told", "all")] * 3
    for number in range(20):
        await ann.emit("tell", ("room", number))
    for client in (ann, bob):
        assert sorted([(await client.next())[1] for _ in range(20)]) == list(range(20))
    assert await ann.call("ask", (bob.get_sid(), 21), timeout=30) == 42
    assert all(client.received.empty() for client in (ann, bob, eve))


async def test_a_stop_tells_the_clients_and_ends_in_time(start: Start, connect: Connect) -> None:
    """SIGTERM: a handler that runs is waited for, clients are told, one that is deaf does not delay the end."""
    node = await start()
    client = await connect(node.url)
    gone, heard = asyncio.Event(), list[str]()
    handle = client.eio.handlers["message"]

    async def disconnected(*_: Any) -> None:
        gone.set()

    async def message(data: str) -> None:
        heard.append(data)
        await handle(data)

    client.on("disconnect", disconnected)
    client.eio.on("message", message)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]))
    with closing(writer):
        writer.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b"101" in await reader.readline()
        # Not call(): python-socketio's client forgets who waits for an answer, if its end comes in the same moment.
        await client.emit("linger", callback=lambda *_: None)
        await node.said("lingers")
        assert await node.stop() < 25  # the deadline is 2 s, Hypercorn's own 30
        await asyncio.wait_for(gone.wait(), 30)
        assert [data for data in heard if data.endswith('["lingered"]')], heard
    assert node.process.returncode == 0
    assert any("server disconnect" in line for line in node.lines), node.lines
