"""Three single-process servers of one application, as the proxies in ``deploy/`` have them behind them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from redis import Redis

from tests.cli.load import get
from tests.ports import kept_port

__all__ = ["Address", "Servers", "until"]

Address = tuple[str, int]
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

    async def is_first(what):
        return await redis.incr(f"{os.environ['PREFIX']}:{what}") == 1

    @app.route("/die", methods=["GET", "POST"])
    async def die():
        if await is_first(request.method):
            os.kill(os.getpid(), signal.SIGKILL)
        return me

    class Dying(dict):
        '''A message that kills its server where this looks for the body, and so has dealt with the head.'''

        def get(self, key, default=None):
            if key == "body":
                os.kill(os.getpid(), signal.SIGKILL)
            return super().get(key, default)

    quart = app.asgi_app

    async def asgi(scope, receive, send):
        if scope.get("path") != "/die-between":
            return await quart(scope, receive, send)
        body = {"type": "http.response.body", "body": me.encode()}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(me))]})
        await send(Dying(body) if await is_first("between") else body)

    app.asgi_app = asgi

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


class Servers:
    """The three; ``prefix`` is that of their keys in Redis, ``ports`` where they listen, which is what they answer."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.redis, self.prefix = folder, Redis.from_url(redis_url), f"deploy:{os.getpid()}:{folder.name}"
        (folder / "behind.py").write_text(textwrap.dedent(APP))
        self.environment = {**os.environ, "REDIS_URL": redis_url, "PREFIX": self.prefix}
        self.kept = [kept_port() for _ in range(3)]
        self.ports: list[int] = [kept.getsockname()[1] for kept in self.kept]
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start_missing(self) -> None:
        """Start those that do not run, and do not wait for them."""
        for port in self.ports:
            if port in self.running:
                continue
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

    def wait_for(self, address: Address, path: str) -> None:
        """Wait until it answers with 200."""

        def answers() -> bool:
            with suppress(OSError):
                return get(address, path, timeout_s=5)[0] == 200
            return False

        until(answers, lambda: str([path.read_text() for path in self.folder.glob("*.log")]))

    def wait_for_all(self, proxy: Address) -> None:
        """Wait until the proxy sends requests to each of the three."""
        for port in self.ports:
            self.wait_for(("127.0.0.1", port), "/readyz")
        seen: set[str] = set()

        def all_answer() -> bool:
            seen.add(get(proxy, "/")[1])
            return seen >= set(map(str, self.ports))

        until(all_answer)

    def kill(self, port: int) -> None:
        """``kill -9`` of the server and of what started it, as when memory runs out; it is not restarted."""
        parent = psutil.Process(self.running[port].pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # it ends with its parent
                process.kill()
        self.running.pop(port).wait()

    def count(self, what: str) -> int:
        """How often the servers were asked for what kills the first of them."""
        return int(self.redis.get(f"{self.prefix}:{what}") or 0)  # type: ignore[arg-type]

    def forget(self) -> None:
        """Nothing is known of what was asked before."""
        for key in self.redis.scan_iter(f"*{self.prefix}*"):
            self.redis.delete(key)

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for port in list(self.running):
            try:
                self.running[port].wait(20)
            except subprocess.TimeoutExpired:
                self.kill(port)
        self.redis.close()
        for kept in self.kept:
            kept.close()


def until(condition: Callable[[], bool], told: Callable[[], str] = str, timeout_s: float = 60.0) -> None:
    """Wait for it; ``told`` says more of a failure."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true in time {told()}"
        time.sleep(0.02)
