"""Gunicorn in a process, Hypercorn in a thread, and a client that takes their answers apart."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from tests.serving import serve

__all__ = ["Address", "Answered", "ask", "gunicorn", "hypercorn"]

Address = tuple[str, int]
_MECHANICS = {"date", "server", "connection", "transfer-encoding", "keep-alive"}


class Answered(NamedTuple):
    """What a test compares: the status, the headers in order but for the server's mechanics, the body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@contextmanager
def gunicorn(target: str, *options: str, **environment: str) -> Iterator[Address]:
    """Gunicorn with threads, in a process of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listening.fileno()}", "--worker-class", "gthread"]
    command += ["--threads", "4", "--no-control-socket", "--log-level", "critical", *options, target]
    env = {**os.environ, **environment}
    with subprocess.Popen(command, pass_fds=[listening.fileno()], stderr=subprocess.DEVNULL, env=env) as process:
        listening.close()
        try:
            yield address
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def hypercorn(app: Any, **options: Any) -> Iterator[Address]:
    """An ASGI application under Hypercorn, in a thread of its own."""
    started, stop = threading.Event(), threading.Event()
    found: list[Address] = []

    async def run() -> None:
        async with serve(app, **options) as url:
            host, _, port = url.removeprefix("http://").partition(":")
            found.append((host, int(port)))
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert started.wait(60)
        yield found[0]
    finally:
        stop.set()
        thread.join(60)


def ask(address: Address, request: bytes) -> Answered:
    """Send a request, and read the answer as HTTP/1.1 says."""
    with socket.create_connection(address, timeout=60) as connection:
        with suppress(ConnectionError):  # answered, and not read to the end
            connection.sendall(request)
        with connection.makefile("rb") as answer:
            return _parsed(answer, request.startswith(b"HEAD "))


def _parsed(answer: Any, head: bool) -> Answered:
    status, headers = 100, []
    while status < 200:  # 100 Continue comes before
        status = int(answer.readline().split()[1])
        headers = list(iter(lambda: answer.readline().rstrip(b"\r\n"), b""))
    pairs = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in headers)]
    known = {name.lower(): value for name, value in pairs}
    kept = [(name, _stable(name, value)) for name, value in pairs if name.lower().decode() not in _MECHANICS]
    return Answered(status, kept, b"" if head or status in (204, 304) else _body(answer, known))


def _body(answer: Any, headers: dict[bytes, bytes]) -> bytes:
    if headers.get(b"transfer-encoding") == b"chunked":
        chunks = []
        while size := int(answer.readline(), 16):
            chunks.append(answer.read(size))
            assert answer.readline() == b"\r\n"
        assert answer.readline() == b"\r\n"
        return b"".join(chunks)
    if b"content-length" in headers:
        return bytes(answer.read(int(headers[b"content-length"])))  # or less, where an application fails
    return bytes(answer.read())


def _stable(name: bytes, value: bytes) -> bytes:
    """Without what depends on the second, as the time in a signed session, or on the process, the order of a set."""
    if name == b"Expires" and value.endswith(b"GMT"):
        ahead = parsedate_to_datetime(value.decode()).timestamp() - time.time()
        return b"in a minute" if 0 < ahead <= 60 else value
    if name == b"Allow":
        return b", ".join(sorted(value.split(b", ")))
    return re.sub(rb"^(session=[^.]+)\.[^;]+", rb"\1", value)
