"""What the tests of views on the loop ask with: many requests at once over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.serving import Peer

__all__ = ["ask", "ask_all", "async_drivers"]


async def ask(url: str, path: str, method: str = "GET") -> tuple[int, str]:
    """One request on a connection of its own: the status and the body."""
    address = urlsplit(url)
    async with Peer.connect((str(address.hostname), int(address.port or 80))) as peer:
        await peer.send(f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close")
        head, _, body = (await peer.rest()).partition(b"\r\n\r\n")
    status = int(head.split()[1])
    if b"transfer-encoding: chunked" in head.lower():
        body = b"".join(body.split(b"\r\n")[1::2])
    return status, body.decode()


async def ask_all(url: str, paths: Any) -> list[tuple[int, str]]:
    """All of them at once."""
    return await asyncio.gather(*(ask(url, path) for path in paths))


@contextmanager
def async_drivers(**options: Any) -> Iterator[dict[str, str]]:
    """SQLAlchemy's dialects mapped to async drivers, and as they were again afterwards."""
    from sqlalchemy.dialects import registry

    from decant.flask.async_db import use_async_drivers

    before = dict(registry.impls)
    try:
        yield use_async_drivers(**options)
    finally:
        registry.impls.clear()
        registry.impls.update(before)
