"""Without the others, and with Redis away: two applications in one process, a server of the test's own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import prometheus_client
import pytest
import redis as redis_py
from blockbuster import BlockBuster

from decant.faces import face
from decant.ops.registry import check_readiness
from decant.quart import Quart
from decant.socketio import SocketIO, SocketIOTestClient, manager
from tests.socketio.conftest import make_app, until
from tests.valkey import Server, running

pytestmark = pytest.mark.parity("socketio", "message_queue URL")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path) as server:
        yield server


class Web:
    """An application that serves, without a socket, and one client of it."""

    def __init__(self, app: Quart, socketio: SocketIO) -> None:
        self.app, self.socketio = app, socketio
        self.client: SocketIOTestClient

    async def state(self) -> str:
        return (await check_readiness(app=self.app))["socketio"].state

    async def until(self, state: str) -> None:
        async with asyncio.timeout(30):
            while await self.state() != state:
                await asyncio.sleep(0.02)

    async def received(self, count: int) -> list[Any]:
        """The values of the next ``count`` events."""
        values: list[Any] = []
        async with asyncio.timeout(30):
            while len(values) < count:
                values += [event["args"][0] for event in self.client.get_received()]
                await asyncio.sleep(0.01)
        return values


Start = Callable[..., Awaitable[Web]]


@pytest.fixture
async def start(channel: str, redis_url: str) -> AsyncIterator[Start]:
    contexts: list[Any] = []

    async def start_web(url: str, **config: Any) -> Web:
        if url != redis_url:  # it will be away, which is to be noticed soon
            config.setdefault("SOCKETIO_HEARTBEAT_S", 0.2)
        app = make_app(REDIS_URL=url, SOCKETIO_CHANNEL=channel, **config)
        socketio = SocketIO(app, transports=["websocket"])
        web = Web(app, socketio)
        contexts.append(app.test_app())
        await contexts[-1].__aenter__()
        await web.until("ok")
        web.client = await socketio.test_client(app)
        return web

    yield start_web
    for context in contexts:
        await context.__aexit__(None, None, None)


async def in_a_thread(function: Callable[[], Any]) -> Any:
    """As a program without an event loop runs it."""
    return await asyncio.to_thread(function)


async def dropped(reason: str) -> float:
    """The metric, whose collection reads files."""

    def value() -> float:
        name = "decant_socketio_dropped_messages_total"
        return prometheus_client.REGISTRY.get_sample_value(name, {"reason": reason}) or 0.0

    return await asyncio.to_thread(value)


async def test_events_keep_their_order_and_arrive_once(start: Start, redis_url: str) -> None:
    """Emitted one after the other, or all at once; in the own process, too."""
    one, two = await start(redis_url), await start(redis_url)
    for number in range(50):
        await one.socketio.emit("n", number)
    await asyncio.gather(*(one.socketio.emit("n", number) for number in range(50, 300)))
    assert await two.received(300) == list(range(300))
    assert await one.received(300) == list(range(300))
    await asyncio.sleep(0.1)
    assert two.client.get_received() == one.client.get_received() == []


async def test_the_listener_does_not_wait_for_handlers(start: Start, redis_url: str) -> None:
    """A client that another process disconnects has a handler that takes long: the others hear on."""
    one, two = await start(redis_url), await start(redis_url)
    entered, gate = asyncio.Event(), asyncio.Event()

    @two.socketio.on("disconnect")
    async def disconnected(reason: str) -> None:
        entered.set()
        await gate.wait()

    leaver = await two.socketio.test_client(two.app)
    manager = two.socketio.server.manager
    sid = manager.sid_from_eio_sid(leaver.eio_sid, "/")
    await one.socketio.server.disconnect(sid)
    await asyncio.wait_for(entered.wait(), 15)
    await one.socketio.emit("n", 1)
    assert await two.received(1) == [1]
    gate.set()
    await until(lambda: not manager.sid_from_eio_sid(leaver.eio_sid, "/"))


async def test_a_loop_that_stood_still_does_not_take_itself_for_deaf(
    start: Start, redis_url: str, no_blocking: BlockBuster, caplog: pytest.LogCaptureFixture
) -> None:
    """What came meanwhile is heard: the listener does not leave it, and what comes next, to subscribe anew."""
    one, two = [await start(redis_url, SOCKETIO_HEARTBEAT_S=0.2) for _ in range(2)]
    for number in range(2):
        await one.socketio.emit("n", number)
        no_blocking.deactivate()
        time.sleep(0.9)
        no_blocking.activate()
    assert await two.received(2) == [0, 1]
    assert "was interrupted" not in caplog.text


async def test_clients_elsewhere_are_not_remembered_for_ever(
    start: Start, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that were asked something, only the latest, while an own client's callbacks stay."""
    monkeypatch.setattr(manager, "_ELSEWHERE", 3)
    web = await start(redis_url)
    own = web.socketio.server.manager.sid_from_eio_sid(web.client.eio_sid, "/")
    for sid in (own, *(f"gone {number}" for number in range(10))):
        with pytest.raises(TimeoutError):
            await web.socketio.call("ask", to=sid, timeout=0.001)
    assert set(web.socketio.server.manager.callbacks) == {own, "gone 7", "gone 8", "gone 9"}


@pytest.mark.parity("socketio", "channel")
async def test_a_script_emits(start: Start, redis_url: str, channel: str) -> None:
    """Without an application, from a plain program and from a running loop."""
    web = await start(redis_url)
    script = SocketIO(message_queue=redis_url, channel=channel)
    await script.emit("n", {"from": "a loop", "bytes": b"\x00"})
    plain = face(SocketIO)(message_queue=redis_url, channel=channel)
    await in_a_thread(lambda: plain.emit("n", "from a script"))
    assert await web.received(2) == [{"from": "a loop", "bytes": b"\x00"}, "from a script"]
    with pytest.raises(RuntimeError, match="serves clients"):
        script.server  # noqa: B018


async def test_a_job_emits_within_its_application_s_context(start: Start, redis_url: str, channel: str) -> None:
    """A worker process has the application, which does not serve there."""
    web = await start(redis_url)
    worker = make_app(REDIS_URL=redis_url, SOCKETIO_CHANNEL=channel)
    socketio = SocketIO(worker)
    async with worker.app_context():
        await socketio.emit("n", "done")
    assert await web.received(1) == ["done"]


async def test_flask_views_emit(start: Start, redis_url: str, channel: str) -> None:
    """Through the face, in Flask's threads, to the same clients."""
    web = await start(redis_url)
    socketio = face(SocketIO)()
    app = await in_a_thread(lambda: flask.Flask("legacy"))
    app.config.update(REDIS_URL=redis_url, SOCKETIO_CHANNEL=channel)
    socketio.init_app(app)
    assert app.extensions["socketio"] == socketio

    @app.get("/")
    def index() -> str:
        assert socketio.emit("n", "from Flask") is None
        return "emitted"

    assert (await in_a_thread(lambda: app.test_client().get("/"))).text == "emitted"
    assert await web.received(1) == ["from Flask"]


async def test_flask_socketio_s_messages_are_understood(start: Start, redis_url: str, channel: str) -> None:
    """What python-socketio's own managers publish, which have no numbers; rubbish on the channel does no harm."""
    web = await start(redis_url)
    message = {
        "method": "emit",
        "event": "n",
        "data": ["theirs"],
        "binary": False,
        "namespace": "/",
        "room": None,
        "skip_sid": None,
        "callback": None,
        "host_id": "other",
    }

    def publish() -> None:
        with redis_py.Redis.from_url(redis_url) as client:
            for text in ("rubbish", "[1]", '{"method": "emit"}', '{"decant": 3}', json.dumps(message)):
                client.publish(channel, text)

    await in_a_thread(publish)
    assert await web.received(1) == ["theirs"]
    await web.until("ok")


async def test_a_restart_of_redis_is_survived(start: Start, server: Server) -> None:
    """Readiness says that the listener is deaf; what is emitted meanwhile is kept and then delivered, in order."""
    one, two = await start(server.url), await start(server.url)
    await one.socketio.emit("n", 0)
    assert await two.received(1) == [0]
    await in_a_thread(server.kill)
    await two.until("degraded")
    for number in range(1, 21):
        async with asyncio.timeout(5):
            await one.socketio.emit("n", number)
    assert await one.received(21) == list(range(21)), "clients of the own process hear it at once"
    assert (await check_readiness(app=one.app))["socketio"].text
    await in_a_thread(server.start)
    await two.until("ok")
    assert await two.received(20) == list(range(1, 21))
    await one.socketio.emit("n", 21)
    assert await two.received(1) == [21]
    assert two.client.get_received() == []


async def test_a_frozen_redis_is_noticed_and_survived(start: Start, server: Server) -> None:
    """A connection that says nothing for ever, and no error either: the heartbeat misses."""
    web = await start(server.url)
    other = await start(server.url)
    await web.socketio.emit("n", "before")  # how many listen is known from what was published last
    assert await other.received(1) == ["before"]
    server.freeze()
    await web.until("degraded")
    await other.until("degraded")
    async with asyncio.timeout(5):
        await web.socketio.emit("n", "kept")
    server.thaw()
    await web.until("ok")
    await other.until("ok")
    assert await other.received(1) == ["kept"]


async def test_a_listener_that_goes_deaf_subscribes_again(start: Start, redis_url: str, channel: str) -> None:
    """The server has forgotten the subscription, and the connection does not say so."""
    web, other = await start(redis_url), await start(redis_url)

    def kill_subscribers() -> int:
        with redis_py.Redis.from_url(redis_url) as client:
            mine = [c for c in client.client_list(_type="pubsub") if c["db"] == redis_url.rpartition("/")[2]]
            return sum(client.client_kill_filter(_id=c["id"]) for c in mine)

    def subscribers() -> int:
        with redis_py.Redis.from_url(redis_url) as client:
            return int(client.pubsub_numsub(channel)[0][1])

    assert await in_a_thread(kill_subscribers) >= 2
    async with asyncio.timeout(30):
        while await in_a_thread(subscribers) < 2:
            await asyncio.sleep(0.02)
    await web.until("ok")
    await other.until("ok")
    await other.socketio.emit("n", "heard")
    assert await web.received(1) == ["heard"]


async def test_what_is_emitted_while_redis_is_away_may_be_dropped(start: Start, server: Server) -> None:
    """As configured; a metric counts it, and the next event is delivered once Redis is back."""
    one, two = await start(server.url, SOCKETIO_WHEN_AWAY="drop"), await start(server.url)
    before = await dropped("redis away")
    await in_a_thread(server.kill)
    await one.until("degraded")
    for number in range(5):
        await one.socketio.emit("n", number)
    assert await dropped("redis away") == before + 5
    await in_a_thread(server.start)
    await one.until("ok")
    await two.until("ok")
    await one.socketio.emit("n", "after")
    assert await two.received(1) == ["after"]


async def test_the_first_event_of_a_process_is_kept_too(start: Start, server: Server) -> None:
    """Who has published nothing yet knows from its heartbeat how many listeners to wait for."""
    one, two = await start(server.url), await start(server.url)
    outbox = one.socketio.server.manager.outbox
    await until(lambda: outbox._listeners == 2)
    await in_a_thread(server.kill)
    await one.until("degraded")
    await two.until("degraded")
    await one.socketio.emit("n", "first")
    await in_a_thread(server.start)
    assert await two.received(1) == ["first"]


async def test_what_is_kept_waits_for_who_comes_back_late(
    start: Start, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the process has counted its listeners without it."""
    one, two = await start(server.url), await start(server.url)
    outbox, late = one.socketio.server.manager.outbox, two.socketio.server.manager
    await until(lambda: outbox._listeners == 2)
    subscribed, may, counts = late._subscribed, asyncio.Event(), list[int]()

    async def subscribed_late() -> AsyncIterator[Any]:
        await may.wait()
        async for message in subscribed():
            yield message

    monkeypatch.setattr(late, "_subscribed", subscribed_late)
    await in_a_thread(server.kill)
    await one.until("degraded")
    await two.until("degraded")
    await one.socketio.emit("n", "kept")
    notice = outbox.notice
    monkeypatch.setattr(outbox, "notice", lambda count, **options: (counts.append(count), notice(count, **options)))
    await in_a_thread(server.start)
    await until(lambda: counts.count(1) >= 3)
    may.set()
    assert await two.received(1) == ["kept"]


async def test_what_is_kept_is_bounded(start: Start, server: Server) -> None:
    one, two = await start(server.url, SOCKETIO_OUTBOX_SIZE=10), await start(server.url)
    await one.socketio.emit("n", "before")  # how many listen is known from what was published last
    assert await two.received(1) == ["before"]
    before = await dropped("outbox full")
    await in_a_thread(server.kill)
    await two.until("degraded")
    for number in range(30):
        await one.socketio.emit("n", number)
    assert await dropped("outbox full") == before + 20
    await in_a_thread(server.start)
    assert await two.received(10) == list(range(10))


async def test_long_polling_without_sticky_sessions_is_warned_of(
    redis_url: str, channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, unless the proxy is said to be sticky, or only WebSockets are allowed."""
    for config, warned in (({}, True), ({"STICKY": True}, False), ({"TRANSPORTS": ["websocket"]}, False)):
        app = make_app(REDIS_URL=redis_url, SOCKETIO_CHANNEL=channel, **{f"SOCKETIO_{k}": v for k, v in config.items()})
        SocketIO(app)
        caplog.clear()
        async with app.test_app():
            assert ("SOCKETIO_STICKY" in caplog.text) == warned, config
