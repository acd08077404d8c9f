"""The options that are handed on, and ``run``."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import sys
import weakref
from typing import Any

import aiohttp
import flask
import pytest
from socketio import AsyncManager

from decant.quart import Quart
from decant.socketio import SocketIO, emit
from tests.ports import kept_port
from tests.socketio.conftest import Connect, make_app, until

EIO = "?EIO=4&transport=polling"


async def opened(url: str, path: str = "socket.io") -> tuple[dict[str, Any], Any]:
    """What the server says to a client that polls: its parameters, and the response."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/{path}/{EIO}") as response:
        text = await response.text()
        return (json.loads(text[1:]) if response.status == 200 else {}), response


@pytest.mark.parity("socketio", "path / resource")
@pytest.mark.parametrize("options", [{"path": "/live/io/"}, {"resource": "live/io"}])
async def test_the_path(app: Quart, served: Any, connect: Connect, options: dict[str, str]) -> None:
    SocketIO(app, **options)
    url = await served(app)
    assert (await connect(url, socketio_path="live/io")).connected
    assert (await opened(url, "socket.io"))[1].status == 404
    assert (await opened(url, "live/iota"))[1].status == 404


async def test_below_a_mount_path(app: Quart, socketio: SocketIO, connect: Connect) -> None:
    """The path is that below ``root_path``."""
    from tests.serving import serve

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/mount"} if scope["type"] != "lifespan" else scope, receive, send)

    async with serve(mounted) as url:
        client = await connect(url, socketio_path="mount/socket.io")
        assert client.connected
        await client.disconnect()


async def test_a_client_that_has_gone_before_it_is_heard(app: Quart, socketio: SocketIO) -> None:
    """Nothing is answered, and nothing fails."""
    scope = {"type": "http", "method": "GET", "path": "/socket.io/", "query_string": b"EIO=4", "headers": []}
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent == []
    assert socketio.server.clients == 0


@pytest.mark.parity("socketio", "ping_interval, ping_timeout, max_http_buffer_size, allow_upgrades, transports")
async def test_what_the_client_is_told(app: Quart, served: Any) -> None:
    """Given as arguments or as configuration; arguments win."""
    app.config.update(SOCKETIO_PING_INTERVAL=7, SOCKETIO_PING_TIMEOUT=3)
    SocketIO(app, ping_timeout=4, max_http_buffer_size=5000, allow_upgrades=False)
    told, _ = await opened(await served(app))
    assert (told["pingInterval"], told["pingTimeout"], told["maxPayload"]) == (7000, 4000, 5000)
    assert told["upgrades"] == []


@pytest.mark.parity("socketio", "ping_interval, ping_timeout, max_http_buffer_size, allow_upgrades, transports")
async def test_only_the_transports_named(app: Quart, served: Any, connect: Connect) -> None:
    SocketIO(app, transports=["websocket"])
    url = await served(app)
    assert (await opened(url))[1].status == 400
    assert (await connect(url)).connected


@pytest.mark.parity("socketio", "ping_interval, ping_timeout, max_http_buffer_size, allow_upgrades, transports")
async def test_a_client_that_answers_no_ping_is_disconnected(app: Quart, served: Any) -> None:
    socketio, gone = SocketIO(app, ping_interval=0.1, ping_timeout=0.5), asyncio.Queue[str]()

    @socketio.on("disconnect")
    async def disconnected(reason: str) -> None:
        await gone.put(reason)

    async with aiohttp.ClientSession() as http:
        url = f"{await served(app)}/socket.io/?EIO=4&transport=websocket"
        async with http.ws_connect(url) as websocket:
            await websocket.receive_str()
            await websocket.send_str("40")
            assert await asyncio.wait_for(gone.get(), 10) in (
                SocketIO.reason.PING_TIMEOUT,
                SocketIO.reason.TRANSPORT_CLOSE,
            )


@pytest.mark.parity("socketio", "async_handlers, always_connect, namespaces, http_compression, cookie, monitor_clients")
async def test_the_cookie_and_the_compression(app: Quart, served: Any) -> None:
    SocketIO(app, cookie="sio", compression_threshold=10)
    _, response = await opened(await served(app))
    assert response.cookies["sio"].value
    assert response.headers["Content-Encoding"] in ("gzip", "deflate")


@pytest.mark.parity("socketio", "async_handlers, always_connect, namespaces, http_compression, cookie, monitor_clients")
async def test_events_one_after_the_other(app: Quart, served: Any, connect: Connect) -> None:
    """With ``async_handlers=False`` a client's next event waits for the handler of the one before."""
    socketio, seen = SocketIO(app, async_handlers=False), []

    @socketio.event
    async def work(number: int) -> None:
        await asyncio.sleep(0.02 if number == 0 else 0)
        seen.append(number)

    @socketio.event
    async def ask() -> list[int]:
        return list(seen)

    client = await connect(await served(app))
    for number in range(5):
        await client.emit("work", number)
    assert await client.call("ask", timeout=10) == [0, 1, 2, 3, 4]


@pytest.mark.parity("socketio", "async_handlers, always_connect, namespaces, http_compression, cookie, monitor_clients")
@pytest.mark.parametrize("always", [True, False])
async def test_when_a_client_is_told_that_it_is_connected(app: Quart, served: Any, always: bool) -> None:
    """Once its ``connect`` handler has ended, or before that."""
    socketio = SocketIO(app, always_connect=always)

    @socketio.on("connect")
    async def connected() -> None:
        await emit("welcome")

    url = f"{await served(app)}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as websocket:
        await websocket.receive_str()
        await websocket.send_str("40")
        told = [(await websocket.receive_str())[:2] for _ in range(2)]
    assert told == (["40", "42"] if always else ["42", "40"])


@pytest.mark.parity("socketio", "ping_interval, ping_timeout, max_http_buffer_size, allow_upgrades, transports")
async def test_a_message_that_is_too_large_ends_the_connection(app: Quart, served: Any) -> None:
    """By either transport."""
    socketio = SocketIO(app, max_http_buffer_size=1000)
    url = f"{await served(app)}/socket.io/?EIO=4&transport="
    text = '42["x","' + "x" * 1000 + '"]'
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{url}websocket") as websocket:
            await websocket.receive_str()
            await websocket.send_str("40")
            await websocket.receive_str()
            await websocket.send_str(text)
            assert [message async for message in websocket] == []
        async with http.get(f"{url}polling") as response:
            sid = json.loads((await response.text())[1:])["sid"]
        async with http.post(f"{url}polling&sid={sid}", data=text) as response:
            assert response.status == 400
    await until(lambda: not socketio.server.clients)


@pytest.mark.parity("socketio", "client_manager")
async def test_a_manager_of_one_s_own(app: Quart) -> None:
    seen: list[str] = []

    class Manager(AsyncManager):  # type: ignore[misc]
        async def emit(self, event: str, *args: Any, **options: Any) -> None:
            seen.append(event)
            await super().emit(event, *args, **options)

    socketio = SocketIO(app, client_manager=Manager())
    client = await socketio.test_client(app, namespace="/")
    await socketio.emit("x")
    assert seen == ["x"]
    assert [event["name"] for event in client.get_received()] == ["x"]


@pytest.mark.parity("socketio", "logger, engineio_logger")
async def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Events are logged if it is asked for; a logger may be given."""
    for logger, logged in ((True, True), (False, False), (logging.getLogger("mine"), True)):
        caplog.clear()
        logging.getLogger("mine").setLevel(logging.INFO)
        app = make_app()
        socketio = SocketIO(app, logger=logger)
        await socketio.test_client(app)
        await socketio.server.emit("my event")
        assert ("my event" in caplog.text) == logged, logger


@pytest.mark.parity("socketio", "logger, engineio_logger")
def test_the_log_is_printed_where_nobody_has_set_it_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a tutorial's program; a logger that was not asked for stays silent."""
    for name in ("", "decant.socketio.server", "decant.socketio.engine"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    socketio = SocketIO(make_app(), logger=True)
    socketio.server.logger.info("an event")
    socketio.server.eio.logger.info("a packet")
    assert capsys.readouterr().err.endswith("an event\n")


async def test_an_extension_does_not_keep_its_applications() -> None:
    """They are freed as without it: a factory may make one for each test."""
    socketio, url = SocketIO(), "redis://localhost:1"
    kept: list[weakref.ref[Any]] = []
    for app in (make_app(), await asyncio.to_thread(lambda: flask.Flask("legacy"))):
        socketio.init_app(app, message_queue=url)
        kept.append(weakref.ref(app))
    del app
    app = make_app()
    socketio.init_app(app, message_queue="")
    client = await socketio.test_client(app)
    kept.append(weakref.ref(app))
    del app, client
    async with asyncio.timeout(10):
        while any(each() is not None for each in kept):
            gc.collect()
            await asyncio.sleep(0.01)
    with pytest.raises(RuntimeError, match="init_app"):
        await socketio.emit("x")


PROGRAM = """
import sys
from quart import Quart
from decant.socketio import SocketIO, emit
app = Quart("program", root_path="/", instance_path="/instance")
socketio = SocketIO(app)
@socketio.event
async def ask():
    return "answer"
socketio.run(app, port=int(sys.argv[1]), log_output=False, allow_unsafe_werkzeug=True)
"""


@pytest.mark.parity("socketio", "run(app, host, port, debug, use_reloader, …)")
async def test_run_serves_until_it_is_told_to_stop(connect: Connect) -> None:
    """On a plain Quart application, too; a connected client does not keep it from ending."""
    held = kept_port()
    port = held.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(port), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        client = await connect(f"http://127.0.0.1:{port}")
        assert await client.call("ask", timeout=30) == "answer"
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode in (0, 3)  # Quart 0.23 ends so, with or without clients
    finally:
        held.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
