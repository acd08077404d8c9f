"""What a server's end does to what is still open: Hypercorn as a process, and a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from decant import Quart
from decant.quart import websocket
from tests.quart.test_sockets import until, websocket_client
from tests.serving import Peer

APPLICATION = """
import asyncio
import os
from decant import Quart
from decant.quart import stream_with_context, websocket

app = Quart(__name__)
app.config.update(SHUTDOWN_TIMEOUT=float(os.environ["SHUTDOWN_TIMEOUT"]))

def log(text):
    print(text, flush=True)

@app.websocket("/")
async def talk():
    try:
        await websocket.send("hello")
        await websocket.receive()
    finally:
        log(f"websocket {websocket.close_code}")

@app.get("/events")
async def events():
    async def endless():
        try:
            while True:
                yield "data: x\\n\\n"
                await asyncio.sleep(0.05)
        finally:
            log("stream closed")
    return app.response_class(stream_with_context(endless()), content_type="text/event-stream")

@app.get("/short")
async def short():
    log("short begun")
    await asyncio.sleep(0.3)
    return "answered"

@app.get("/hangs")
async def hangs():
    log("hangs begun")
    await asyncio.Event().wait()

@app.teardown_request
async def teardown(error):
    await asyncio.sleep(0.01)
    log("request torn down")

@app.teardown_websocket
async def teardown_websocket(error):
    log("websocket torn down")

@app.after_serving
async def after():
    log("after serving")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "served.py").write_text(APPLICATION)
    return tmp_path


@pytest.fixture
async def hypercorn(folder: Path) -> AsyncIterator[Callable[..., Any]]:
    """``await hypercorn(*options)`` starts one as a process; gives it and the address that it listens on."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*options: str, shutdown_timeout_s: float) -> Any:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            number = listening.fileno()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hypercorn", "--bind", f"fd://{number}", *options, "served:app"),
                cwd=folder,
                env={**os.environ, "SHUTDOWN_TIMEOUT": str(shutdown_timeout_s)},
                pass_fds=[number],
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            stack.push_async_callback(process.wait)
            stack.callback(kill, process)
            return process, listening.getsockname()

        yield start


def kill(process: asyncio.subprocess.Process) -> None:
    """It and its workers, if a test has failed."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("options", [("-w", "0"), ("-w", "0", "-k", "uvloop"), ("-w", "1")], ids=" ".join)
async def test_what_is_open_ends_soon_after_the_signal(hypercorn: Any, options: tuple[str, ...]) -> None:
    """A WebSocket, an endless stream and a request that hangs do not hold Hypercorn: hypercorn#308.

    The WebSocket hears 1001 at once, a request that needs a moment is answered, everything is torn down. Hypercorn's
    own deadline would come much later.
    """
    process, address = await hypercorn(*options, "--graceful-timeout", "60", shutdown_timeout_s=2)
    async with contextlib.AsyncExitStack() as stack:
        reader, writer, status = await websocket_client(address)
        stack.callback(writer.close)
        assert status == 101
        assert (await asyncio.wait_for(reader.readexactly(7), 60))[2:] == b"hello"
        stream, hanging, short = [await stack.enter_async_context(Peer.connect(address)) for _ in range(3)]
        await stream.get("/events")
        assert await stream.status() == 200
        await hanging.get("/hangs")
        await short.get("/short")
        begun = {await asyncio.wait_for(process.stdout.readline(), 60) for _ in range(2)}
        assert begun == {b"short begun\n", b"hangs begun\n"}
        process.send_signal(signal.SIGTERM)
        assert await short.status() == 200
        assert (await asyncio.wait_for(reader.readexactly(4), 60))[2:] == (1001).to_bytes(2)
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    lines = output.decode().splitlines()
    assert process.returncode == 0
    assert "websocket 1001" in lines
    assert lines.count("websocket torn down") == 1
    assert lines.count("stream closed") == 1
    assert lines.count("request torn down") == 3
    assert lines[-1] == "after serving"


async def test_an_idle_server_stops_at_once(hypercorn: Any) -> None:
    """Nothing waits for a deadline, here of two minutes, when nothing is open."""
    process, address = await hypercorn("-w", "0", "--graceful-timeout", "120", shutdown_timeout_s=120)
    async with Peer.connect(address) as peer:
        await peer.get("/short", "Connection: close")
        assert await peer.status() == 200
        await peer.rest()
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0


async def test_the_lifespan_ends_what_no_socket_told_of(app: Quart) -> None:
    """Under a server without a listening socket of its own: closed when ``lifespan.shutdown`` comes."""
    app.config["SHUTDOWN_TIMEOUT"] = 0.1
    talk = Talk(app)
    await app.startup()
    async with talk.served(server=None):
        await asyncio.wait_for(app.shutdown(), 60)
    assert talk.seen == [1001]
    assert talk.sent == [("websocket.accept", None), ("websocket.close", 1001)]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_a_server_that_stops_at_its_first_connection_is_noticed(
    app: Quart, family: socket.AddressFamily, tmp_path: Path
) -> None:
    """It had closed its listening socket before anybody looked for it: connections to that address are all there is."""
    talk = Talk(app)
    await app.startup()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(family))
        listening.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "s"))
        listening.listen()
        client = stack.enter_context(socket.socket(family))
        await asyncio.to_thread(client.connect, listening.getsockname())
        accepted = stack.enter_context((await asyncio.to_thread(listening.accept))[0])
        server = accepted.getsockname() if family == socket.AF_INET else (accepted.getsockname(), None)
        listening.close()
        async with talk.served(server=server):
            pass
    assert talk.seen == [1001]
    await app.shutdown()


class Talk:
    """One WebSocket of an application, served by nobody; ``seen`` are the codes that its view was closed with."""

    def __init__(self, app: Quart) -> None:
        self.app, self.seen, self.sent = app, list[Any](), list[Any]()

        @app.websocket("/")
        async def talk() -> None:
            try:
                await websocket.receive()
            finally:
                self.seen.append(websocket.close_code)

    @contextlib.asynccontextmanager
    async def served(self, *, server: Any) -> AsyncIterator[None]:
        """From its acceptance to its end, which has to come by itself."""
        messages: asyncio.Queue[Any] = asyncio.Queue()
        messages.put_nowait({"type": "websocket.connect"})

        async def send(message: Any) -> None:
            self.sent.append((message["type"], message.get("code")))

        scope: Any = {"type": "websocket", "scheme": "ws", "path": "/", "query_string": b"", "server": server}
        scope |= {"headers": [(b"host", b"a")], "asgi": {"version": "3.0", "spec_version": "2.3"}}
        serving = asyncio.create_task(self.app(scope, messages.get, send))
        await until(lambda: self.sent)
        yield
        await asyncio.wait_for(asyncio.gather(serving, return_exceptions=True), 60)
