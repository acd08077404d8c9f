"""Limits on how many requests are served at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import flask
import pytest
import quart
from redis import Redis

from decant.bridge import in_thread
from decant.errors import ConfigError
from decant.faces import face
from decant.limiter import ConcurrencyExceeded, Limiter
from tests.serving import Peer, serve

Make = Callable[..., Any]


@pytest.fixture
def storage_uri() -> str:
    return "memory://"


class Gate:
    """A view that is held until it is let go, and knows how many are in it."""

    def __init__(self) -> None:
        self.now = self.most = self.entered = 0
        self.open = asyncio.Event()

    async def __call__(self) -> str:
        self.now += 1
        self.entered += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.wait_for(self.open.wait(), 60)
        finally:
            self.now -= 1
        return "ok"

    async def holds(self, count: int) -> None:
        while self.now < count:
            await asyncio.sleep(0.002)


def view_of(gate: Gate) -> Any:
    async def index() -> str:
        return await gate()

    return index


@pytest.mark.parametrize("across_processes", [False, True])
async def test_so_many_are_served_and_so_many_wait(limited: Make, redis_url: str, across_processes: bool) -> None:
    """The others are answered 503 with Retry-After at once; those that waited are served."""
    app, limiter = limited(RATELIMIT_STORAGE_URI=redis_url)
    gate = Gate()
    bounded = limiter.concurrency(3, queue=2, wait_s=30, retry_after_s=7, across_processes=across_processes)
    app.add_url_rule("/", "index", bounded(view_of(gate)))
    client = app.test_client()
    tasks = [asyncio.create_task(client.get("/")) for _ in range(9)]
    await gate.holds(3)
    while sum(task.done() for task in tasks) < 4:
        await asyncio.sleep(0.002)
    refused = [task.result() for task in tasks if task.done()]
    assert {(response.status_code, response.headers["Retry-After"]) for response in refused} == {(503, "7")}
    assert gate.now == 3
    gate.open.set()
    found = sorted(response.status_code for response in await asyncio.gather(*tasks))
    assert (found, gate.most) == ([200] * 5 + [503] * 4, 3)
    assert [(await client.get("/")).status_code for _ in range(5)] == [200] * 5, "all slots are free again"


@pytest.mark.parametrize("across_processes", [False, True])
async def test_who_waits_too_long_is_refused(limited: Make, redis_url: str, across_processes: bool) -> None:
    app, limiter = limited(RATELIMIT_STORAGE_URI=redis_url)
    gate = Gate()
    app.add_url_rule(
        "/",
        "index",
        limiter.concurrency(1, queue=5, wait_s=0.05, across_processes=across_processes)(view_of(gate)),
    )
    client = app.test_client()
    first = asyncio.create_task(client.get("/"))
    await gate.holds(1)
    assert [response.status_code for response in await asyncio.gather(*(client.get("/") for _ in range(3)))] == [
        503
    ] * 3
    gate.open.set()
    assert (await first).status_code == 200
    assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("across_processes", [False, True])
async def test_a_disconnected_client_leaves_the_queue_and_gives_its_slot_back(
    limited: Make, redis_url: str, across_processes: bool
) -> None:
    """On a real server: one that waits makes room in the queue; one that is served makes room for the next."""

    app, limiter = limited(RATELIMIT_STORAGE_URI=redis_url)
    gate = Gate()
    bounded = limiter.concurrency(1, queue=1, wait_s=30, across_processes=across_processes)
    app.add_url_rule("/", "index", bounded(view_of(gate)))

    def waits() -> bool:
        return bool(bounded._slots._waiting) or any(slots._turns._busy for slots in bounded._shared.values())

    async with serve(app) as url, AsyncExitStack() as stack:
        host, _, port = url.removeprefix("http://").partition(":")

        async def ask() -> tuple[Peer, asyncio.Task[int]]:
            peer = await stack.enter_async_context(Peer.connect((host, int(port))))
            await peer.get("/")
            return peer, asyncio.create_task(peer.status())

        async def one_that_waits() -> tuple[Peer, asyncio.Task[int]]:
            while waits():  # until the one before has left
                await asyncio.sleep(0.002)
            peer, status = await ask()
            while not waits():
                assert not status.done()
                await asyncio.sleep(0.002)
            return peer, status

        served, _status = await ask()
        await gate.holds(1)
        waiting, _status = await one_that_waits()
        assert await (await ask())[1] == 503, "the queue is full"
        waiting.abort()
        _, status = await one_that_waits()
        assert await (await ask())[1] == 503, "and again, by the one that came then"
        assert gate.entered == 1
        served.abort()
        while gate.entered < 2:
            await asyncio.sleep(0.002)
        gate.open.set()
        assert await status == 200
    assert gate.most == 1


async def test_keys_and_exemptions(limited: Make) -> None:
    """Each key has slots of its own; who is exempt needs none."""
    app, limiter = limited()
    gate = Gate()
    bounded = limiter.concurrency(
        1, key_func=lambda: quart.request.args["who"], exempt_when=lambda: "admin" in quart.request.args
    )
    app.add_url_rule("/", "index", bounded(view_of(gate)))
    client = app.test_client()
    tasks = [asyncio.create_task(client.get(f"/?who={who}")) for who in ("a", "b", "c&admin", "c&admin")]
    await gate.holds(4)
    assert (await client.get("/?who=a")).status_code == 503
    gate.open.set()
    assert [response.status_code for response in await asyncio.gather(*tasks)] == [200] * 4


@pytest.mark.parametrize("kind", ["app", "blueprint"])
@pytest.mark.parametrize("across_processes", [False, True])
async def test_on_an_application_or_a_blueprint(
    limited: Make, redis_url: str, kind: str, across_processes: bool
) -> None:
    """All of its routes count together, and errors and cancelled requests give their slots back."""
    app, limiter = limited(RATELIMIT_STORAGE_URI=redis_url)
    gate = Gate()
    blueprint = quart.Blueprint("area", __name__, root_path="/")
    blueprint.add_url_rule("/held", "held", view_of(gate))

    @blueprint.get("/broken")
    async def broken() -> str:
        raise ValueError

    @app.get("/outside")
    async def outside() -> str:
        return "ok"

    bounded = limiter.concurrency(2, across_processes=across_processes)
    bounded(app if kind == "app" else blueprint)
    app.register_blueprint(blueprint)
    client = app.test_client()
    assert [(await client.get("/broken")).status_code for _ in range(4)] == [500] * 4
    tasks = [asyncio.create_task(client.get("/held")) for _ in range(2)]
    await gate.holds(2)
    assert (await client.get("/broken")).status_code == 503
    assert (await client.get("/outside")).status_code == (503 if kind == "app" else 200)
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    while (await client.get("/broken")).status_code != 500:
        await asyncio.sleep(0.01)
    gate.open.set()
    assert (await tasks[1]).status_code == 200


@pytest.mark.parametrize("kind", ["view", "app"])
async def test_slots_come_back_from_a_limiter_that_was_disabled(limited: Make, kind: str) -> None:
    """Requests that it has let in still run then."""
    app, limiter = limited()
    gate = Gate()
    bounded = limiter.concurrency(1)
    app.add_url_rule("/", "index", bounded(view_of(gate)) if kind == "view" else view_of(gate))
    if kind == "app":
        bounded(app)
    client = app.test_client()
    first = asyncio.create_task(client.get("/"))
    await gate.holds(1)
    limiter.enabled = False
    gate.open.set()
    assert (await first).status_code == (await client.get("/")).status_code == 200
    limiter.enabled = True
    assert (await client.get("/")).status_code == 200


async def test_a_prefix_keeps_applications_apart_that_share_a_redis(limited: Make, redis_url: str) -> None:
    """RATELIMIT_KEY_PREFIX, as with rates: both may call a thing by the same name."""
    clients, gates = [], []
    for prefix in ("shop", "blog"):
        app, limiter = limited(RATELIMIT_STORAGE_URI=redis_url, RATELIMIT_KEY_PREFIX=prefix)
        gates.append(Gate())
        bounded = limiter.concurrency(1, scope="reports", across_processes=True)
        app.add_url_rule("/", "index", bounded(view_of(gates[-1])))
        clients.append(app.test_client())
    first = asyncio.create_task(clients[0].get("/"))
    await gates[0].holds(1)
    gates[1].open.set()
    assert (await clients[1].get("/")).status_code == 200
    gates[0].open.set()
    assert (await first).status_code == 200


def on_nested_blueprints(framework: Any, app: Any, bounded: Any) -> None:
    outer, inner = (framework.Blueprint(name, __name__, url_prefix=f"/{name}", root_path="/") for name in "ab")
    inner.add_url_rule("/", "index", lambda: "ok")
    bounded(inner)
    bounded(outer)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)


@pytest.mark.parametrize("scope", [None, "both"])
async def test_one_limit_on_a_blueprint_and_on_one_in_it(limited: Make, scope: str | None) -> None:
    """A request in both holds a slot of each, or one where they have a name in common, and gives all of them back."""
    app, limiter = limited()
    on_nested_blueprints(quart, app, limiter.concurrency(1, scope=scope))
    client = app.test_client()
    assert [(await client.get("/a/b/")).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("scope", [None, "both"])
def test_one_limit_on_a_blueprint_of_flask_and_on_one_in_it(scope: str | None) -> None:
    app = flask.Flask("bounded")
    app.config["RATELIMIT_STORAGE_URI"] = "memory://"
    limiter = face(Limiter)(lambda: "me", app=app)
    on_nested_blueprints(flask, app, limiter.concurrency(1, scope=scope))
    client = app.test_client()
    assert [client.get("/a/b/").status_code for _ in range(3)] == [200] * 3


async def test_a_slot_around_a_part_of_a_view(limited: Make) -> None:
    """async with limit.slot("name")."""
    app, limiter = limited()
    reports = limiter.concurrency(1)
    gate = Gate()

    @app.get("/")
    async def index() -> Any:
        try:
            async with reports.slot("report"):
                return await gate()
        except ConcurrencyExceeded:
            return "later"

    client = app.test_client()
    first = asyncio.create_task(client.get("/"))
    await gate.holds(1)
    assert await (await client.get("/")).get_data(as_text=True) == "later"
    gate.open.set()
    assert await (await first).get_data(as_text=True) == "ok"


@pytest.mark.parametrize("across_processes", [False, True])
def test_a_slot_around_a_part_of_a_flask_view(redis_url: str, across_processes: bool) -> None:
    """with limit.slot("name")."""
    app = flask.Flask("bounded")
    app.config.update(RATELIMIT_STORAGE_URI=redis_url, REDIS_DEADLINE_S=30.0)
    reports = face(Limiter)(lambda: "me", app=app).concurrency(1, across_processes=across_processes)

    @app.get("/")
    def index() -> str:
        with reports.slot("report"):
            try:
                with reports.slot("report"):
                    return "two"
            except ConcurrencyExceeded:
                return "one"

    assert [app.test_client().get("/").text for _ in range(2)] == ["one", "one"]


@contextmanager
def held(redis_url: str, lease_s: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the one slot of ``reports``."""
    command = [sys.executable, str(Path(__file__).with_name("holder.py")), redis_url, str(lease_s)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_processes_share_slots_and_a_crash_gives_them_back(limited: Make, redis_url: str) -> None:
    """A lease is renewed while its process lives, and ends soon after it was killed."""
    app, limiter = limited(RATELIMIT_STORAGE_URI=redis_url)
    lease: dict[str, Any] = {"scope": "reports", "across_processes": True, "lease_s": 3}

    @app.get("/wait")
    @limiter.concurrency(1, wait_s=30, queue=1, **lease)
    async def wait_for_it() -> str:
        return "ok"

    @app.get("/")
    @limiter.concurrency(1, **lease)
    async def index() -> str:
        return "ok"

    async def ends() -> float:
        [(_, milliseconds)] = await limiter.storage.redis.zrange("LIMITS:CONCURRENCY/reports/1", 0, -1, withscores=True)
        return float(milliseconds)

    client = app.test_client()
    context = held(redis_url, 3)
    process = await in_thread(context.__enter__)
    try:
        async with app.app_context():
            first = await ends()
            while await ends() == first:
                await asyncio.sleep(0.05)
        assert (await client.get("/")).status_code == 503, "renewed"
        waiting = asyncio.create_task(client.get("/wait"))
        process.kill()
        assert (await waiting).status_code == 200
    finally:
        await in_thread(context.__exit__, None, None, None)


async def test_a_short_lease_does_not_end_a_long_one(limited: Make, redis_url: str) -> None:
    """While an application with another ``lease_s`` takes the place of one that still runs, they share the slots."""
    app, limiter = limited(RATELIMIT_STORAGE_URI=redis_url)
    shared: dict[str, Any] = {"scope": "reports", "across_processes": True}
    long, short = (limiter.concurrency(2, lease_s=lease_s, **shared) for lease_s in (60, 0.5))

    @app.get("/")
    async def index() -> str:
        async with long.slot("reports"):
            async with short.slot("reports"):
                pass
            return str(await limiter.storage.redis.pttl("LIMITS:CONCURRENCY/reports/2"))

    assert int(await (await app.test_client().get("/")).get_data(as_text=True)) > 1000


async def test_without_redis_each_process_counts_for_itself(limited: Make, unused_port: int) -> None:
    """Or what on_storage_error says."""
    app, limiter = limited(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{unused_port}/0")
    gates = {}
    for policy in ("memory", "allow", "deny", "raise"):
        gates[policy] = gate = Gate()
        bounded = limiter.concurrency(1, across_processes=True, on_storage_error=policy, scope=policy)
        app.add_url_rule(f"/{policy}", policy, bounded(view_of(gate)))
    client = app.test_client()
    tasks = [asyncio.create_task(client.get(f"/{policy}")) for policy in ("memory", "allow", "allow")]
    await gates["memory"].holds(1)
    await gates["allow"].holds(2)
    for policy in ("memory", "deny", "raise"):
        assert (await client.get(f"/{policy}")).status_code == 503
    gates["memory"].open.set()
    gates["allow"].open.set()
    assert [(await task).status_code for task in tasks] == [200] * 3


@pytest.mark.parametrize("across_processes", [False, True])
@pytest.mark.parametrize("kind", ["view", "app"])
def test_on_a_flask_application(redis_url: str, across_processes: bool, kind: str) -> None:
    """In plain threads, through the face: waiting threads are woken by others."""
    app = flask.Flask("bounded")
    app.config.update(RATELIMIT_STORAGE_URI=redis_url, REDIS_DEADLINE_S=30.0)
    limiter = face(Limiter)(lambda: "me", app=app)
    bounded = limiter.concurrency(2, queue=2, wait_s=30, across_processes=across_processes)
    inside, open_ = threading.Semaphore(0), threading.Event()
    most = now = 0
    lock = threading.Lock()

    def index() -> str:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        inside.release()
        assert open_.wait(60)
        with lock:
            now -= 1
        return "ok"

    if kind == "app":
        bounded(app)
        app.add_url_rule("/", "index", index)
    else:
        app.add_url_rule("/", "index", bounded(index))
    with ThreadPoolExecutor(6) as threads:
        futures = [threads.submit(lambda: app.test_client().get("/").status_code) for _ in range(6)]
        assert inside.acquire(timeout=60)
        assert inside.acquire(timeout=60)
        while sum(future.done() for future in futures) < 2:
            open_.wait(0.005)
        open_.set()
        assert sorted(future.result() for future in futures) == [200] * 4 + [503] * 2
    assert most == 2
    with Redis.from_url(redis_url) as redis:
        assert not redis.keys("LIMITS:CONCURRENCY*")


async def test_a_wrong_number_is_refused(limited: Make) -> None:
    """With its name; and processes share slots in Redis only."""
    app, limiter = limited(RATELIMIT_STORAGE_URI="memory://")
    for options in ({"limit": 0}, {"limit": True}, {"queue": -1}, {"wait_s": -1}, {"on_storage_error": "panic"}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            limiter.concurrency(**{"limit": 1, **options})
    app.add_url_rule("/", "index", limiter.concurrency(1, across_processes=True)(view_of(Gate())))
    assert (await app.test_client().get("/")).status_code == 500
