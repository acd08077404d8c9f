"""Three single-process servers of one application, as the proxies in ``deploy/`` have them behind them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from redis import Redis

from tests.cli.load import free_port, get

APP = """
    import os, signal, sys
    from quart import request, websocket
    from decant import Quart
    from decant.limiter import Limiter
    from decant.limiter.util import get_remote_address
    from decant.ops.health import health
    from decant.ops.registry import readiness
    from decant.redis import client

    app = Quart(__name__)
    app.config.update(REDIS_URL=os.environ["REDIS_URL"], RATELIMIT_KEY_PREFIX=os.environ["PREFIX"])
    limiter = Limiter(get_remote_address, app=app, headers_enabled=True)
    redis = client(app, decode_responses=True)
    me = os.environ["ME"]

    @app.get("/")
    async def index():
        return me

    @app.get("/socket.io/")
    async def polled():
        return me

    @app.get("/limited")
    @limiter.limit("10 per minute")
    async def limited():
        return me

    @app.get("/seen")
    async def seen():
        return {"address": request.remote_addr, "url": request.url, "forwarded": request.headers.getlist("Forwarded")}

    @app.route("/die", methods=["GET", "POST"])
    async def die():
        if await redis.incr(f"{os.environ['PREFIX']}:{request.method}") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return me

    @app.websocket("/ws")
    async def echo():
        while True:
            await websocket.send(f"{me} {await websocket.receive()}")

    async def told():
        if await redis.get(f"{os.environ['PREFIX']}:unready") == me:
            raise RuntimeError("told so")

    async def missed():
        if await redis.get(f"{os.environ['PREFIX']}:degraded") == me:
            raise RuntimeError("told so")

    readiness("told", told, app=app)
    readiness("missed", missed, app=app, critical=False)
    health(app)
"""


def program(name: str) -> str:
    """Where it is: not every user's PATH has the folder that Debian puts it in."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found is not None, f"{name} is not installed"
    return found


class Servers:
    """The three; ``prefix`` is that of their keys in Redis, ``ports`` where they listen, which is what they answer."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.redis, self.prefix = folder, Redis.from_url(redis_url), f"deploy:{os.getpid()}:{folder.name}"
        (folder / "behind.py").write_text(textwrap.dedent(APP))
        self.environment = {**os.environ, "REDIS_URL": redis_url, "PREFIX": self.prefix}
        self.ports = [free_port() for _ in range(3)]
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *ports: int) -> None:
        """Start those, and wait until they are ready."""
        for port in ports:
            command = [sys.executable, "-m", "decant.cli", "serve", "behind:app", "--bind", f"127.0.0.1:{port}"]
            with (self.folder / f"{port}.log").open("ab") as log:
                self.running[port] = subprocess.Popen(
                    [*command, "--proxy-headers", "1", "--drain", "2"],
                    cwd=self.folder,
                    env={**self.environment, "ME": str(port)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        for port in ports:
            self.wait_for(("127.0.0.1", port), "/readyz")

    def wait_for(self, address: tuple[str, int], path: str) -> None:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                if get(address, path, timeout_s=5)[0] == 200:
                    return
            assert time.monotonic() < deadline, [path.read_text() for path in self.folder.glob("*.log")]
            time.sleep(0.05)

    def kill(self, port: int) -> None:
        """``kill -9`` of the server and of what started it, as when memory runs out; it is not restarted."""
        parent = psutil.Process(self.running[port].pid)
        for process in (parent, *parent.children(recursive=True)):
            process.kill()
        self.running.pop(port).wait()

    def missing(self) -> list[int]:
        return [port for port in self.ports if port not in self.running]

    def stop(self) -> None:
        for port in list(self.running):
            self.running[port].send_signal(signal.SIGTERM)
        for port in list(self.running):
            try:
                self.running.pop(port).wait(20)
            except subprocess.TimeoutExpired:
                self.kill(port)
        self.redis.close()


@pytest.fixture(scope="module")
def servers_behind(servers: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    redis_url: str = servers.redis_url  # type: ignore[attr-defined]
    made = Servers(tmp_path_factory.mktemp("behind"), redis_url)
    try:
        made.start(*made.ports)
        yield made
    finally:
        made.stop()


@pytest.fixture
def behind(servers_behind: Servers) -> Servers:
    """All three run when the test begins, and nothing is known of former tests."""
    for key in servers_behind.redis.scan_iter(f"*{servers_behind.prefix}*"):
        servers_behind.redis.delete(key)
    servers_behind.start(*servers_behind.missing())
    return servers_behind


@pytest.fixture(scope="module")
def proxy_port() -> int:
    return free_port()
