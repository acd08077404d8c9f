"""Answers that are sent whole or not at all: what a client has when the server is killed between head and body."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from decant.cli.serving.whole import Loop, in_one_write, whole
from tests.cli.toys import Project, Start

DYING = """
    import os, signal

    class Dying(dict):
        '''A message that kills its server where this looks for the body, and so has dealt with the head.'''

        def get(self, key, default=None):
            if key == "body":
                os.kill(os.getpid(), signal.SIGKILL)
            return super().get(key, default)

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send(Dying({"type": "http.response.body", "body": b"whole"}))
"""


@pytest.mark.parametrize(
    ("server", "loop"),
    [("hypercorn", "asyncio"), ("uvicorn", "asyncio"), pytest.param("hypercorn", "uvloop", marks=pytest.mark.slow)],
)
def test_a_server_that_is_killed_between_head_and_body_has_sent_nothing(
    project: Project, start: Start, server: str, loop: str
) -> None:
    """So that a proxy, which has nothing of the answer, asks another server."""
    project.write("dying.py", DYING)
    project.write("hypercorn.toml", f"worker_class = '{loop}'\n")
    config = ["--config", "hypercorn.toml"] if server == "hypercorn" else []
    running = start("serve", "dying:app", "--bind", "127.0.0.1:0", "--server", server, *config)
    host, port = running.expect(r"^  listening +http://(\S+)$").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with suppress(ConnectionResetError):
            received = client.recv(4096)
    running.expect("was killed by SIGKILL: another is started")
    assert received == b""


@dataclass
class Pair:
    """The two ends of a connection to a server of the loop."""

    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader


@asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), "127.0.0.1", 0)
    async with server:
        reader, client = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer = await accepted
        try:
            yield Pair(writer, reader)
        finally:
            for one in (client, writer):
                one.close()
                await one.wait_closed()


def on_the_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test()

    def run() -> None:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(bounded())

    run.__name__, run.__doc__ = test.__name__, test.__doc__  # type: ignore[attr-defined]
    return run


async def has_nothing(reader: asyncio.StreamReader) -> bool:
    try:
        await asyncio.wait_for(reader.readexactly(1), 0.05)
    except TimeoutError:
        return True
    return False


@on_the_loop
async def test_what_a_block_writes_goes_at_its_end() -> None:
    async with connected() as pair:
        with in_one_write():
            pair.writer.write(b"head ")
            pair.writer.writelines([b"and ", b"body"])
            await pair.writer.drain()
            assert await has_nothing(pair.reader)
        assert await pair.reader.readexactly(13) == b"head and body"
        pair.writer.write(b", and more")
        assert await pair.reader.readexactly(10) == b", and more"


@on_the_loop
async def test_nobody_overtakes_what_is_held() -> None:
    """Another task's writing, as that of a ping or of another stream, sends first what was before it."""
    async with connected() as pair:

        async def other() -> None:
            pair.writer.write(b"2")

        outside = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(after(outside, other))
        with in_one_write():
            pair.writer.write(b"1")
            outside.set_result(None)
            await task
            assert await pair.reader.readexactly(2) == b"12"
            pair.writer.write(b"3")
        assert await pair.reader.readexactly(1) == b"3"


async def after(future: asyncio.Future[None], act: Callable[[], Awaitable[None]]) -> None:
    await future
    await act()


@on_the_loop
async def test_a_connection_that_is_closed_sends_what_it_holds() -> None:
    async with connected() as pair:
        with in_one_write():
            pair.writer.write(b"last words")
            pair.writer.close()
        assert await pair.reader.read() == b"last words"


@on_the_loop
async def test_a_slow_client_slows_down_whoever_writes() -> None:
    """More than the kernel takes is kept by asyncio, as ever, and ``drain`` waits for it."""
    async with connected() as pair:
        much = b"x" * 20_000_000
        with in_one_write():
            pair.writer.write(much)
            assert pair.writer.transport.get_write_buffer_size() == len(much)
        drained = asyncio.create_task(pair.writer.drain())
        await asyncio.sleep(0)
        assert not drained.done()
        assert await pair.reader.readexactly(len(much)) == much
        await drained


START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"2")]}
STREAM: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
FIRST: dict[str, Any] = {"type": "http.response.body", "body": b"o", "more_body": True}
LAST: dict[str, Any] = {"type": "http.response.body", "body": b"k"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([START], []),
        ([START, FIRST], [START, FIRST]),
        ([START, FIRST, LAST], [START, FIRST, LAST]),
        ([STREAM], [STREAM]),  # its head may be all that a client waits for
        ([STREAM, FIRST, LAST], [STREAM, FIRST, LAST]),
        ([START, START], [START, START]),  # what is wrong is the server's to say
        ([START, LAST, START], [START, LAST, START]),
    ],
)
async def test_heads_wait_for_the_body_where_it_is_certain_to_come(given: list[Any], sent: list[Any]) -> None:
    messages: list[Any] = []

    async def server(message: dict[str, Any]) -> None:
        messages.append(message)

    send = whole(server)
    for message in given:
        await send(message)
    assert messages == sent
