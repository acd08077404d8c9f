"""Caches over every backend that there is, and servers of the tests' own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from blockbuster import BlockBuster

from decant import Quart
from decant.cache import Cache
from decant.testing import Client
from tests.ports import kept_port
from tests.valkey import PROGRAM, Server, running

MEMCACHED = shutil.which("memcached")
needs_memcached = pytest.mark.memcached
BACKENDS = (
    "RedisSentinelCache",
    "RedisClusterCache",
    "SimpleCache",
    "FileSystemCache",
    "RedisCache",
    pytest.param("MemcachedCache", marks=needs_memcached),
)


class Memcached:
    """A memcached process on a free loopback port; its methods block."""

    def __init__(self) -> None:
        kept = kept_port()
        self.port = kept.getsockname()[1]
        weakref.finalize(self, os.close, kept.detach())
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MEMCACHED is not None
        self.process = subprocess.Popen([MEMCACHED, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-u", "nobody"])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "memcached ended"
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.01)
        raise TimeoutError("memcached did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def memcached() -> Iterator[Memcached]:
    server = Memcached()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Valkey of the test's own, to be killed and frozen."""
    with running(tmp_path) as server:
        yield server


class Cluster(Server):
    """A Redis Cluster of one primary that has all the slots."""

    def start(self, *arguments: str, loaded: bool = True) -> None:
        super().start("--cluster-enabled", "yes", *arguments, loaded=loaded)
        with redis.Redis(port=self.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline = time.monotonic() + 30
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
                assert time.monotonic() < deadline
                time.sleep(0.02)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    server = Cluster(tmp_path_factory.mktemp("cluster"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Sentinel that watches one master."""
    folder = tmp_path_factory.mktemp("sentinel")
    with running(folder) as master, kept_port() as kept:
        port = kept.getsockname()[1]
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
        )
        process = subprocess.Popen([PROGRAM, "sentinel.conf", "--sentinel"], cwd=folder, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while True:
                assert time.monotonic() < deadline
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.02)
            yield port
        finally:
            process.kill()
            process.wait()


@pytest.fixture(params=BACKENDS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The configuration of one backend after the other, of an empty place."""
    kind = request.param
    config: dict[str, Any] = {"CACHE_TYPE": kind}
    if kind == "RedisCache":
        config |= {"CACHE_REDIS_URL": request.getfixturevalue("redis_url"), "REDIS_DEADLINE_S": 30.0}
    elif kind == "RedisClusterCache":
        config |= {"CACHE_REDIS_CLUSTER": f"127.0.0.1:{request.getfixturevalue('cluster').port}"}
        config |= {"CACHE_OPTIONS": {"deadline_s": 30.0}, "CACHE_KEY_PREFIX": f"{tmp_path.name}:"}
    elif kind == "RedisSentinelCache":
        config |= {"CACHE_REDIS_SENTINELS": [("127.0.0.1", request.getfixturevalue("sentinel"))]}
        config |= {"CACHE_OPTIONS": {"deadline_s": 30.0}, "CACHE_KEY_PREFIX": f"{tmp_path.name}:"}
    elif kind == "MemcachedCache":
        port = request.getfixturevalue("memcached").port
        prefix = f"{tmp_path.name}{time.monotonic_ns()}:"
        config |= {"CACHE_MEMCACHED_SERVERS": [f"127.0.0.1:{port}"], "CACHE_KEY_PREFIX": prefix}
        config |= {"CACHE_OPTIONS": {"deadline_s": 30.0}}
    elif kind == "FileSystemCache":
        config |= {"CACHE_DIR": str(tmp_path / "cache")}
    return config


Make = Callable[..., tuple[Quart, Cache]]


@pytest.fixture
def make(no_blocking: BlockBuster) -> Iterator[Make]:
    """Make an application and its cache: ``make(config, CACHE_…=…)``. That may block, as before a server's loop."""
    apps: list[Quart] = []

    def made(config: dict[str, Any], kind: type[Cache] = Cache, **more: Any) -> tuple[Quart, Cache]:
        no_blocking.deactivate()
        try:
            app = Quart("test_app")
            app.test_client_class = Client
            app.secret_key = "for tests"
            app.config.update({**config, **more})
            cache = kind(app)
        finally:
            no_blocking.activate()
        apps.append(app)
        return app, cache

    yield made
    for app in apps:
        app.workers.close()


@pytest.fixture
async def simple(make: Make) -> tuple[Quart, Cache]:
    """An application with a cache in memory."""
    return make({"CACHE_TYPE": "SimpleCache"})


@pytest.fixture
async def cache(make: Make, config: dict[str, Any]) -> AsyncIterator[Cache]:
    """A cache over each backend, within its application's context."""
    app, cache = make(config)
    async with app.app_context():
        yield cache
        await cache.cache.aclose()


class Counter:
    """Counts calls, and waits as long as it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.task: asyncio.Task[Any] | None = None  # that which called last
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> int:
        self.calls += 1
        self.task = asyncio.current_task()
        number = self.calls
        await self.gate.wait()
        return number


@pytest.fixture
async def counter() -> Counter:
    return Counter()
