"""Clients that go away at random moments: what does the shim keep of them?

``python bench/disconnects.py [COUNT] [--views threads|loop] [--seed N]`` sends COUNT requests (10,000) of nine kinds to
a Flask application under Hypercorn, each of which is cut off after a random part of the request, a random part of the
answer or a random time; then it counts what is left: threads, greenlets, file descriptors, temporary files, connections
of the database's pool, generators and contexts that were not closed, and lines in the log. It exits with 1 if there is
anything.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import flask
import sqlalchemy
from greenlet import greenlet
from hypercorn.asyncio import serve
from hypercorn.config import Config

from decant.bridge import wait
from decant.flask import Asgi, asgi

BODY = os.urandom(300_000)
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = (
    b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"10000\r\n" + BODY[:65536] + b"\r\n") * 4
)
WEBSOCKET = (
    b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PATHS = ("/plain", "/slow", "/waits", "/stream", "/events", "/file")
REQUESTS = [f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in PATHS] + [UPLOAD, CHUNKED, WEBSOCKET]


class Books:
    """What has been opened and closed."""

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, which: Counter[str], name: str) -> None:
        with self._lock:
            which[name] += 1

    @property
    def open(self) -> dict[str, int]:
        return {name: left for name, count in self.opened.items() if (left := count - self.closed[name])}


def application(folder: Path, books: Books) -> tuple[flask.Flask, sqlalchemy.Engine]:
    app = flask.Flask("disconnects")
    url = f"sqlite:///{folder / 'data.db'}"
    args = {"check_same_thread": False}
    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.QueuePool, pool_size=5, max_overflow=100, connect_args=args
    )
    large = folder / "large.bin"
    large.write_bytes(BODY * 4)

    @app.before_request
    def before() -> None:
        flask.g.connection = engine.connect()
        books.note(books.opened, "context")

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        if (connection := flask.g.pop("connection", None)) is not None:  # Flask calls this twice after a stream with it
            connection.close()
            books.note(books.closed, "context")

    _add_views(app, books, large)
    return app, engine


def _add_views(app: flask.Flask, books: Books, large: Path) -> None:  # noqa: C901 - routes
    def pieces(count: int, size: int, pause_s: float) -> Any:
        books.note(books.opened, "generator")
        try:
            for _ in range(count):
                wait(asyncio.sleep(pause_s))
                yield b"x" * size
        finally:
            books.note(books.closed, "generator")

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/slow")
    def slow() -> str:
        time.sleep(0.002)
        flask.g.connection.execute(sqlalchemy.text("SELECT 1"))
        return "slow"

    @app.get("/waits")
    def waits() -> str:
        for _ in range(3):
            wait(asyncio.sleep(0.003))
            flask.g.connection.execute(sqlalchemy.text("SELECT 1"))
        return "waited"

    @app.get("/stream")
    def stream() -> Any:
        return flask.Response(flask.stream_with_context(pieces(40, 20_000, 0.0005)))

    @app.get("/events")
    def events() -> Any:
        return flask.Response(pieces(10_000, 10, 0.002), mimetype="text/event-stream")

    @app.get("/file")
    def file() -> Any:
        return flask.send_file(large)

    @app.post("/upload")
    def upload() -> str:
        found = io.BytesIO()
        while data := flask.request.stream.read(16_384):
            found.write(data)
            wait(asyncio.sleep(0.0005))
        return str(len(found.getvalue()))

    @app.route("/socket", websocket=True)
    def socket() -> Any:
        import simple_websocket

        books.note(books.opened, "socket")
        try:
            ws = simple_websocket.Server(flask.request.environ)
            with suppress(simple_websocket.ConnectionClosed):
                while ws.receive() is not None:
                    pass
        finally:
            books.note(books.closed, "socket")
        return _Ended()


class _Ended(flask.Response):
    def __call__(self, *args: Any) -> Any:
        raise ConnectionError


@asynccontextmanager
async def served(shim: Asgi) -> AsyncIterator[tuple[str, int]]:
    """Under Hypercorn, in this loop."""
    import socket

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    address = listening.getsockname()
    config = Config.from_mapping({"graceful_timeout": 5, "accesslog": None, "loglevel": "WARNING"})
    config.bind = [f"fd://{listening.detach()}"]
    stop = asyncio.Event()
    task = asyncio.create_task(serve(shim, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    try:
        yield address
    finally:
        stop.set()
        await task


async def visit(address: tuple[str, int], chance: random.Random) -> None:
    """One client, cut off."""
    request = chance.choice(REQUESTS)
    with suppress(ConnectionError):
        reader, writer = await asyncio.open_connection(*address)
        try:
            when = chance.random()
            if when < 0.4:
                request = request[: chance.randrange(1, len(request) + 1)]
            writer.write(request)
            if when < 0.8:
                await asyncio.sleep(chance.random() * 0.05)
            else:
                with suppress(asyncio.IncompleteReadError, TimeoutError):
                    async with asyncio.timeout(0.2):
                        await reader.readexactly(int(10 ** chance.uniform(0, 5)))
        finally:
            writer.transport.abort()


async def visits(address: tuple[str, int], count: int, seed: int, at_once: int = 50) -> None:
    chance, left = random.Random(seed), iter(range(count))

    async def visitor() -> None:
        for _ in left:
            await asyncio.wait_for(visit(address, chance), 20)

    await asyncio.gather(*(visitor() for _ in range(at_once)))


def greenlets() -> int:
    gc.collect()
    found = [thing for thing in gc.get_objects() if isinstance(thing, greenlet)]
    return sum(1 for thing in found if thing and thing.parent is not None)  # each thread has one without


def held() -> Counter[str]:
    """Greenlets, tasks, and open descriptors by kind: sockets, the file that is sent, files that are deleted."""
    kinds = Counter({"greenlets": greenlets(), "tasks": len(asyncio.all_tasks())})
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")
            kind = "deleted files" if "(deleted)" in target else target.partition(":")[0]
            if kind in {"deleted files", "socket"} or kind.endswith("large.bin"):
                kinds[kind] += 1
    return kinds


class Lines(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "decant.flask.watchdog":  # a busy machine holds the loop, not a client that leaves
            self.found.append(self.format(record))


async def quiet(shim: Asgi, books: Books, engine: Any) -> dict[str, Any]:
    """What is still held once everything has had a few seconds to end."""
    held: dict[str, Any] = {}
    for _ in range(500):
        await asyncio.sleep(0.02)
        pools = {"busy threads": shim.threads.busy, "busy sockets": shim.sockets.threads.busy}
        held = {name: count for name, count in pools.items() if count} | books.open
        held |= {"open requests": len(shim.connections.open)} if shim.connections.open else {}
        held |= {"connections": engine.pool.checkedout()} if engine.pool.checkedout() else {}
        if not held:
            break
    return held


async def run(count: int, views: Literal["threads", "loop"], seed: int, folder: Path) -> tuple[dict[str, Any], Books]:
    """Send them; gives what is left, which should be nothing."""
    books, lines = Books(), Lines()
    app, engine = await asyncio.to_thread(application, folder, books)
    logging.getLogger().addHandler(lines)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lines.found.append(str(context)))
    shim = asgi(app, views=views, threads=16, sockets=60, spool=65_536, grace_s=5)
    async with served(shim) as address:
        await visits(address, 100, seed)  # what is made once is made
        left: dict[str, Any] = await quiet(shim, books, engine)
        await asyncio.sleep(1)
        before = held()
        await visits(address, count, seed + 1)
        left |= await quiet(shim, books, engine)
        for _ in range(100):
            if not (more := held() - before):
                break
            await asyncio.sleep(0.1)  # Hypercorn closes its side
        left |= more
    engine.dispose()
    for _ in range(100):
        waiting = [thread.name for thread in threading.enumerate() if "simple_websocket" in thread.name]
        if not waiting:
            break
        await asyncio.sleep(0.1)  # each ends by itself, some time after its handler
    if waiting:
        left["threads of WebSockets"] = len(waiting)
    logging.getLogger().removeHandler(lines)
    if lines.found:
        left["lines in the log"] = f"{len(lines.found)}, the first: {lines.found[0]}"
    return left, books


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("--views", choices=("threads", "loop"), default="threads")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        left, books = asyncio.run(run(given.count, given.views, given.seed, Path(folder)))
    took = time.perf_counter() - began
    print(f"{given.count} disconnects, views={given.views}, seed {given.seed}, in {took:.1f} s")
    print("handled:", dict(books.opened))
    print("left:", left or "nothing")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
