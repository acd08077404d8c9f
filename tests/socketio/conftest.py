"""Applications with Socket.IO, served by Hypercorn, and python-socketio's client."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import socketio as client_library
from blockbuster import BlockBuster

from decant.quart import Quart
from decant.socketio import SocketIO, SocketIOTestClient
from decant.testing import Client as HTTPClient  # noqa: F401  it reads files when it is imported
from tests.serving import serve


@pytest.fixture(autouse=True)
def of_the_client(no_blocking: BlockBuster) -> None:
    """aiohttp's client looks for ~/.netrc and the like; it is the test's, not ours."""
    no_blocking.functions["os.stat"].can_block_in("aiohttp/helpers.py", {"netrc_from_env"})


def make_app(name: str = "app", **config: Any) -> Quart:
    app = Quart(name, root_path="/", instance_path="/instance")  # so that they are not looked for
    app.secret_key = "socketio"
    app.config.update(TESTING=True, **config)
    return app


@pytest.fixture
def app() -> Quart:
    return make_app()


@pytest.fixture
def channel() -> str:
    """Redis' channels are the server's, whatever its database: a name of this test's own."""
    return f"test-{uuid.uuid4().hex}"


def names(client: SocketIOTestClient, namespace: str | None = None) -> list[Any]:
    """Name and arguments of what a test client has received."""
    return [(event["name"], event["args"]) for event in client.get_received(namespace)]


class Client(client_library.AsyncClient):  # type: ignore[misc]
    """python-socketio's client, which keeps what it receives."""

    def __init__(self, **options: Any) -> None:
        super().__init__(reconnection=False, **options)
        self.received: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def keep(self, namespace: str = "/") -> None:
        async def received(event: str, *args: Any) -> None:
            await self.received.put((event, *args))

        self.on("*", received, namespace=namespace)

    async def next(self, timeout_s: float = 30) -> tuple[Any, ...]:
        """The next event that arrives."""
        return await asyncio.wait_for(self.received.get(), timeout_s)


async def until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    """Look again until it is true."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


Connect = Callable[..., Any]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """``await connect(url, …)``: a client that is connected; it is disconnected with the test."""
    clients: list[Client] = []

    async def connected(url: str, *, namespaces: list[str] | None = None, **options: Any) -> Client:
        client = Client()
        for namespace in namespaces or ["/"]:
            client.keep(namespace)
        clients.append(client)
        options.setdefault("transports", ["websocket"])
        await client.connect(url, namespaces=namespaces or ["/"], wait_timeout=30, **options)
        return client

    yield connected
    await asyncio.gather(*(client.disconnect() for client in clients))


@pytest.fixture
async def served() -> AsyncIterator[Callable[[Quart], Any]]:
    """``url = await served(app)``: it is stopped with the test, after the clients."""
    async with AsyncExitStack() as stack:

        async def start(app: Quart, **options: Any) -> str:
            return await stack.enter_async_context(serve(app, **options))

        yield start


@pytest.fixture
def socketio(app: Quart) -> SocketIO:
    return SocketIO(app)
