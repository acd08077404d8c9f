"""``decant serve`` as it is used: processes that serve, are killed, are replaced, and end in time."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Request

from tests.cli.load import Load, get
from tests.cli.toys import Project, Running, Start, gone, wait_until

LEGACY = """
    import os
    import flask

    def create_app(greeting="hello", *, key="x"):
        app = flask.Flask(__name__)

        @app.get("/")
        def index():
            return {"greeting": greeting, "key": key, "pid": os.getpid(), "address": flask.request.remote_addr,
                    "url": flask.request.url, "multiprocess": flask.request.is_multiprocess}

        @app.get("/pid")
        def pid():
            return str(os.getpid())

        @app.get("/hold")
        def hold():
            print("holding", flush=True)
            while True:
                pass

        return app
"""
ASGI = """
    import asyncio, os

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise RuntimeError("no lifespan here")
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        elif scope["path"] == "/pid":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
            return
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await asyncio.sleep(600)
"""


@pytest.fixture
def folder(project: Project) -> Project:
    project.write("legacy.py", LEGACY)
    project.write("plain.py", ASGI)
    return project


def address_of(running: Running) -> tuple[str, int]:
    """Wait for the banner."""
    host, port = running.expect(r"^  listening +http://(\S+)$").split(":")
    return host, int(port)


def serving(running: Running) -> list[Any]:
    return [child for child in running.children() if "decant.cli.serving.process" in child.cmdline()]


def test_an_unmodified_flask_application_is_served(folder: Project, start: Start) -> None:
    """The factory gets its arguments, the banner says what runs where, Ctrl-C ends it with status 0."""
    target = "legacy:create_app('hi', key='k')"
    running = start("serve", target, "--bind", "127.0.0.1:0", "--proxy-headers", "1", "--threads", "7", "--access-log")
    address = address_of(running)
    seen = {"X-Forwarded-For": "203.0.113.9, 192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "sho.rt"}
    given = json.loads(get(address, "/?q=1", **seen)[1])
    assert given.pop("pid") in [child.pid for child in serving(running)]
    assert given == {
        "greeting": "hi",
        "key": "k",
        "address": "192.0.2.7",
        "url": "https://sho.rt/?q=1",
        "multiprocess": False,
    }
    for line in (
        r"^  target +legacy:create_app\('hi', key='k'\) \(Flask 3[.\d]+\)$",
        r"^  views +in 7 threads$",
        r"^  server +Hypercorn [.\d]+ on asyncio, 1 process$",
        r"^  proxies +1 in front are believed$",
        r"hypercorn\.access.*GET / ",
    ):
        running.expect(line)
    running.signal(signal.SIGINT)
    assert running.ends() == 0
    assert "Traceback" not in running.output


@pytest.mark.parametrize("named", ["FLASK_APP", "tool.decant", "file"])
def test_without_a_target_the_environment_and_the_project_are_asked(
    folder: Project, start: Start, named: str, tmp_path: Path
) -> None:
    folder.write("pyproject.toml", '[tool.decant]\napp = "plain:app"\n' if named == "tool.decant" else "[project]\n")
    if named == "file":
        folder.write("wsgi.py", "from legacy import create_app\napplication = create_app()\n")
    environment = {"FLASK_APP": "legacy:create_app" if named == "FLASK_APP" else ""}
    running = start("serve", "--bind", f"unix:{tmp_path / 'web'}", **environment)
    running.expect(rf"^  listening +unix:{tmp_path / 'web'}$")
    expected = {"FLASK_APP": "legacy:create_app", "tool.decant": "plain:app", "file": "wsgi.py"}[named]
    running.expect(rf"^  target +{expected} \(")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "web"))
        client.sendall(b"GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    running.signal(signal.SIGTERM)
    assert running.ends() == 0
    assert not (tmp_path / "web").exists()


def test_an_application_that_says_how_it_logs_is_not_spoken_over(folder: Project, start: Start) -> None:
    own = """
    import logging

    if not logging.getLogger().handlers:
        logging.basicConfig(format="own: %(message)s", level="INFO")
"""
    folder.write("logging_app.py", own + LEGACY)
    running = start("serve", "logging_app:create_app", "--bind", "127.0.0.1:0", "--access-log")
    assert get(address_of(running), "/pid")[0] == 200
    running.expect(r"^own: .*GET /pid")


def test_what_is_wrong_with_the_target_ends_the_start_in_one_line(folder: Project, start: Start) -> None:
    folder.write("legacy.py", "def create_app():\n    raise RuntimeError('SECRET_KEY is not set')\n")
    running = start("serve", "legacy:create_app", "--bind", "127.0.0.1:0", "--workers", "3")
    assert running.ends() == 1
    place = "(legacy.py:2 in create_app)"
    assert running.lines == [f"decant: TARGET 'legacy:create_app': RuntimeError: SECRET_KEY is not set {place}"]


def test_a_start_that_fails_later_is_told_as_well(folder: Project, start: Start) -> None:
    """In the application's own start, when the server runs already."""
    folder.write(
        "late.py",
        """
        from quart import Quart
        app = Quart(__name__)

        @app.before_serving
        async def begin():
            raise RuntimeError("no database")
        """,
    )
    running = start("serve", "late:app", "--bind", "127.0.0.1:0")
    assert running.ends() == 1
    assert "decant: TARGET 'late:app': its start failed: no database" in running.lines


def test_a_factory_may_wait_on_the_loop_that_serves(folder: Project, start: Start) -> None:
    folder.write(
        "waits.py",
        """
        import asyncio
        from decant import wait
        from flask import Flask

        def create_app():
            app = Flask(__name__)
            found = []

            async def ask():
                await asyncio.sleep(0.001)
                found.append(asyncio.get_running_loop())

            wait(ask())

            @app.get("/")
            async def index():
                return str(asyncio.get_running_loop() is found[0])

            return app
        """,
    )
    running = start("serve", "waits:create_app", "--bind", "127.0.0.1:0", "--views", "loop")
    assert get(address_of(running)) == (200, "True")
    running.expect(r"^  views +on the event loop")
    running.expect(r"^  caution +on the loop, a lock that is held")


def test_a_killed_process_is_replaced_while_the_others_serve(folder: Project, start: Start) -> None:
    """``kill -9`` of one of three: what it was answering is lost, nothing else, and there are three again."""
    running = start("serve", "plain:app", "--bind", "127.0.0.1:0", "--workers", "3")
    address = address_of(running)
    first = serving(running)
    assert len(first) == 3
    with Load(address, "/pid", clients=6) as load:
        wait_until(lambda: load.answers.total() > 100)
        first[0].kill()
        running.expect(rf"process {first[0].pid} was killed by SIGKILL: another is started$")
        fresh = running.expect(r"process (\d+) serves$")
        wait_until(lambda: load.answers[fresh] > 0)
    assert len(load.failures) <= 6, load.failures
    assert not any("Refused" in failure for failure in load.failures)
    assert len(serving(running)) == 3


@pytest.mark.parametrize(
    ("server", "loop"),
    [("hypercorn", "asyncio"), ("granian", "asyncio"), pytest.param("hypercorn", "uvloop", marks=pytest.mark.slow)],
)
def test_a_reload_under_load_loses_no_request(folder: Project, start: Start, server: str, loop: str) -> None:
    """New code is served, by new processes, and every request in between was answered."""
    folder.write("hypercorn.toml", f"worker_class = '{loop}'\n")
    folder.write("changing.py", ASGI.replace("str(os.getpid())", "'old'"))
    config = ["--config", "hypercorn.toml"] if server == "hypercorn" else []
    running = start(*("serve", "changing:app", "--bind", "127.0.0.1:0", "--workers", "2", "--server", server, *config))
    address = address_of(running)
    running.expect(rf"^  server +{server.title()} \S+ on {loop}, 2 processes$")
    old = serving(running)
    with Load(address, "/pid") as load:
        wait_until(lambda: load.answers["old"] > 100)
        folder.write("changing.py", ASGI.replace("str(os.getpid())", "'new'"))
        running.signal(signal.SIGHUP)
        running.expect(r"^decant serve: reloaded$")
        wait_until(lambda: load.answers["new"] > 100)
    assert load.failures == []
    assert all(gone(child) for child in old)
    assert get(address, "/pid") == (200, "new")


def test_a_reload_of_broken_code_leaves_what_runs(folder: Project, start: Start) -> None:
    running = start("serve", "legacy:create_app", "--bind", "127.0.0.1:0")
    address = address_of(running)
    pid = get(address, "/pid")
    folder.write("legacy.py", "import nothing_of_that_name\n")
    running.signal(signal.SIGHUP)
    running.expect(r"the reload ends here, what runs goes on: .* No module named 'nothing_of_that_name' \(legacy.py:1")
    assert get(address, "/pid") == pid


@pytest.mark.slow
def test_pauses_grow_while_processes_end_at_once(folder: Project, start: Start) -> None:
    """And a reload with better code ends them."""
    folder.write("crashing.py", ASGI.replace("str(os.getpid())", "os._exit(3)"))
    running = start("serve", "crashing:app", "--bind", "127.0.0.1:0")
    address = address_of(running)
    for pause in ("", r" in 0\.[3456] s", r" in (0\.[89]|1\.\d) s", r" in (1\.[6-9]|2\.\d) s"):
        with socket.create_connection(address, timeout=30) as client:
            client.sendall(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n")  # it waits for the next process
            running.expect(rf"ended with status 3: another is started{pause}$")
    folder.write("crashing.py", ASGI)
    running.signal(signal.SIGHUP)
    running.expect(r"^decant serve: reloaded$")
    assert get(address, "/pid")[0] == 200


def begun_stream(address: tuple[str, int]) -> socket.socket:
    client = socket.create_connection(address, timeout=30)
    client.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    received = b""
    while b"begun" not in received:
        chunk = client.recv(4096)
        assert chunk, received
        received += chunk
    return client


def rest_of(client: socket.socket) -> bytes:
    """Whatever comes until the server closes the connection."""
    received = b""
    with client, suppress(ConnectionError):
        while chunk := client.recv(4096):
            received += chunk
    return received


def open_websocket(address: tuple[str, int]) -> tuple[socket.socket, WSConnection]:
    sock, ws = socket.create_connection(address, timeout=30), WSConnection(ConnectionType.CLIENT)
    sock.sendall(ws.send(Request(host="localhost", target="/ws")))
    while ws.state is ConnectionState.CONNECTING:
        data = sock.recv(4096)
        assert data
        ws.receive_data(data)
    assert isinstance(next(ws.events()), AcceptConnection)
    return sock, ws


def test_streams_and_sockets_that_never_end_are_ended_by_the_deadline(folder: Project, start: Start) -> None:
    """Also those of an application that hears of nothing; the WebSocket's client is told that the server restarts.

    Each server is asked here, at the same time.
    """
    command = ("serve", "plain:app", "--bind", "127.0.0.1:0", "--drain", "8", "--server")
    started = {server: start(*command, server) for server in ("hypercorn", "uvicorn", "granian")}
    addresses = {server: address_of(running) for server, running in started.items()}
    processes = [process for running in started.values() for process in serving(running)]
    assert len(processes) == 3
    clients = {server: (begun_stream(address), *open_websocket(address)) for server, address in addresses.items()}
    began = time.monotonic()
    for running in started.values():
        running.signal(signal.SIGTERM)
    for server, (stream, sock, ws) in clients.items():
        assert b"0\r\n\r\n" not in rest_of(stream), server  # it is cut, so that nobody takes it for whole
        with suppress(ConnectionError):
            ws.receive_data(sock.recv(4096) or None)
        closed = [event.code for event in ws.events() if isinstance(event, CloseConnection)]
        sock.close()
        if server == "hypercorn":  # uvicorn closes them itself, at once; Granian may end before it has told
            assert closed == [1012]
        elif server == "uvicorn":
            assert closed
    for server, running in started.items():
        assert running.ends() == 0, server
        assert "and was killed" not in running.output, server
    assert 4 < time.monotonic() - began < 30
    assert all(gone(process) for process in processes)


def test_a_view_that_never_ends_is_killed_at_the_deadline(folder: Project, start: Start) -> None:
    running = start("serve", "legacy:create_app", "--bind", "127.0.0.1:0", "--drain", "2", "--views", "loop")
    address = address_of(running)
    with pytest.raises((OSError, http.client.HTTPException)), socket.create_connection(address, timeout=30) as client:
        client.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        running.expect(r"^holding$")
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.ends() == 0
        assert time.monotonic() - began < 30
        raise ConnectionError
    assert re.search(r"process \d+ had not ended after 2 s and was killed", running.output)


def test_nobody_is_let_in_while_it_ends(folder: Project, start: Start) -> None:
    """A connection is refused at once, so that a proxy can go elsewhere, and does not wait for the end."""
    running = start("serve", "plain:app", "--bind", "127.0.0.1:0", "--drain", "20")
    address = address_of(running)
    stream = begun_stream(address)
    running.signal(signal.SIGTERM)

    def refused() -> bool:
        try:
            get(address, "/pid", timeout_s=10)
        except (ConnectionError, http.client.HTTPException):
            return True
        return False

    wait_until(refused, timeout_s=10)
    with pytest.raises(ConnectionRefusedError):
        get(address, "/pid", timeout_s=10)
    time.sleep(0.3)  # sooner, it would be taken for the same request
    began = time.monotonic()
    running.signal(signal.SIGTERM)  # once more: at once
    assert running.ends() == 130
    assert time.monotonic() - began < 15
    stream.close()
