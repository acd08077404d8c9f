"""One client per application, URL and options; what is wrong with them is said at the start, without passwords."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart

from decant.errors import ConfigError, RedisUnavailable
from decant.ops.registry import check_readiness
from decant.redis import Breaker, Redis, client, masked
from tests.valkey import Server

from .conftest import Make


def make_app(**config: Any) -> Quart:
    app = Quart(__name__)
    app.config.update(config)
    return app


@pytest.fixture
def app() -> Quart:
    """Made outside the loop: an application looks for its folder, which blocks."""
    return make_app()


@pytest.fixture
def other() -> Quart:
    return make_app()


@pytest.fixture
def flask() -> Flask:
    return Flask(__name__)


async def test_one_client_per_app_url_and_options(redis_url: str, app: Quart, other: Quart) -> None:
    """The same again for the same question, another for another app, URL or option."""
    app.config["REDIS_URL"] = other.config["REDIS_URL"] = redis_url
    assert client(app) is client(app)
    assert client(app) is client(app, redis_url)
    different = [client(app), client(other), client(app, "redis://127.0.0.1:1"), client(app, decode_responses=True)]
    assert len(set(map(id, different))) == 4


async def test_the_current_app(redis_url: str, app: Quart, flask: Flask) -> None:
    """Without an argument it is the client of the active application, Quart's or Flask's."""
    app.config["REDIS_URL"] = flask.config["REDIS_URL"] = redis_url
    async with app.app_context():
        assert client() is client(app)
    with flask.app_context():
        assert client() is client(flask)


async def test_without_an_app(redis_url: str) -> None:
    """Then a URL is needed, and the client is the process's."""
    assert client(url=redis_url) is client(url=redis_url)
    with pytest.raises(ConfigError, match="url = None"):
        client()


@pytest.mark.parametrize("make_one", [lambda: Redis.from_url("redis://h"), lambda: Redis.from_pool(None)])
def test_redis_pys_ways_to_make_one(make_one: Callable[[], object]) -> None:
    """They say what to use instead."""
    with pytest.raises(NotImplementedError, match=r"decant\.redis\.client\(app\)"):
        make_one()


async def test_it_is_closed_after_serving(server: Server, app: Quart) -> None:
    """The application's shutdown closes its connections, of all its clients."""
    app.config |= {"REDIS_URL": server.url, "REDIS_DEADLINE_S": 30.0}
    redis, text = client(app), client(app, decode_responses=True)
    watching = client(url=server.url, deadline_s=30.0)

    async def connections() -> int:
        return len(await watching.client_list())

    before = await connections()
    async with app.test_app():
        await asyncio.gather(redis.ping(), text.ping())
        assert await connections() == before + 2
    async with asyncio.timeout(20):
        while await connections() > before:
            await asyncio.sleep(0.01)
    await watching.aclose()


async def test_it_is_closed_last(server: Server, app: Quart) -> None:
    """What ends with the application may still use it, however late that was registered."""
    app.config |= {"REDIS_URL": server.url, "REDIS_DEADLINE_S": 30.0}
    redis, watching = client(app), client(url=server.url, deadline_s=30.0)

    @app.after_serving
    async def say_goodbye() -> None:
        await redis.set("goodbye", 1)

    before = len(await watching.client_list())
    for _ in range(2):
        async with app.test_app():
            pass
        assert await watching.delete("goodbye") == 1
        async with asyncio.timeout(20):
            while len(await watching.client_list()) > before:
                await asyncio.sleep(0.01)
    await watching.aclose()


async def test_what_is_in_use_when_it_is_closed(redis_url: str, make: Make) -> None:
    """A pipeline and a subscription give back their connections all the same, and may be used again."""
    redis = make(redis_url, deadline_s=30.0)
    async with redis.pipeline() as pipe, redis.pubsub() as pubsub:
        await pipe.watch("k")
        await pubsub.subscribe("channel")
        await redis.aclose()
        await redis.ping()  # on new connections
        await pipe.reset()
        await pubsub.aclose()
        assert pipe.connection is None
        assert pubsub.connection is None
        assert await pipe.set("k", 1).get("k").execute() == [True, b"1"]


async def test_a_client_that_is_made_while_serving(redis_url: str, app: Quart) -> None:
    """It works, though the application takes no more hooks; the end of the loop closes it."""
    app.config |= {"REDIS_URL": redis_url, "REDIS_DEADLINE_S": 30.0}

    @app.get("/")
    async def index() -> str:
        return str(await client().incr("n"))

    async with app.test_app() as running:
        assert await (await running.test_client().get("/")).get_data(as_text=True) == "1"
        assert await (await running.test_client().get("/")).get_data(as_text=True) == "2"


async def test_readiness(server: Server, app: Quart) -> None:
    """The application's readiness says degraded, not failed, while Redis does not answer, and ok when it does again."""
    app.config |= {"REDIS_URL": server.url, "REDIS_BREAKER_FAILURES": 1, "REDIS_BREAKER_RESET_S": 0.05}
    app.config["REDIS_DEADLINE_S"] = 30.0
    redis = client(app)
    assert (await check_readiness(30.0, app=app))["redis"].state == "ok"
    await asyncio.to_thread(server.kill)
    result = (await check_readiness(30.0, app=app))["redis"]
    assert result.state == "degraded"
    assert str(server.port) in result.text
    with pytest.raises(RedisUnavailable):
        await redis.ping()
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(20):
        while (await check_readiness(30.0, app=app))["redis"].state != "ok":
            await asyncio.sleep(0.02)
    assert redis.available


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret@host/0",
        "redis:/:secret@host",
        "redis://:secret@host:port/0",
        "redis://:secret@host:99999/0",
        "redis://:secret@host/name",
        "redis://:secret@host/0?db=x",
        "redis://:secret@host/0?nonsense=1",
        "redis://:sec#ret@host/0",
        "redis://:sec/ret@host/0",
        "redis://[::1:secret@host",
        "unix:///socket?password=secret&db=x",
        "secret",
        "",
        None,
        7,
    ],
)
def test_wrong_urls(url: Any) -> None:
    """Each stops the start with the key's name and what is allowed; the password is not shown."""
    with pytest.raises(ConfigError, match=r"^REDIS_URL = .*redis://\[user:password@\]host") as caught:
        client(make_app(REDIS_URL=url))
    assert "secret" not in repr(caught.value)
    assert "ret@" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("REDIS_DEADLINE_S", 0),
        ("REDIS_DEADLINE_S", "soon"),
        ("REDIS_DEADLINE_S", float("inf")),
        ("REDIS_POOL_SIZE", -1),
        ("REDIS_POOL_SIZE", 2.5),
        ("REDIS_MAX_PENDING", True),
        ("REDIS_DEDICATED_SIZE", ""),
        ("REDIS_BREAKER_FAILURES", 0),
        ("REDIS_BREAKER_RESET_S", float("nan")),
    ],
)
def test_wrong_options(key: str, value: object) -> None:
    """The key, the value, and what is allowed."""
    with pytest.raises(ConfigError, match=f"{key} = .*positive"):
        client(make_app(REDIS_URL="redis://localhost", **{key: value}))


async def test_what_the_url_says_of_our_options_is_not_used(redis_url: str, make: Make) -> None:
    """A Flask half may share it: neither types nor timeouts change by what redis-py is told there."""
    query = "decode_responses=True&socket_timeout=0.01&max_connections=1&retry=3&retry_on_error=x&client_name=me"
    redis = make(f"{redis_url}?{query}", deadline_s=30.0)
    await redis.set("k", "é")
    assert await redis.get("k") == "é".encode()
    assert await redis.pipeline().get("k").execute() == ["é".encode()]
    assert await asyncio.gather(*(redis.blpop(["none"], timeout=0.1) for _ in range(3))) == [None] * 3
    assert await redis.client_getname() == "me"


def test_options_from_the_environment_are_text() -> None:
    """As an .env file gives them."""
    options = client(make_app(REDIS_URL="redis://localhost", REDIS_DEADLINE_S="0.5", REDIS_POOL_SIZE="3")).options
    assert (options.deadline_s, options.pool_size) == (0.5, 3)


@settings(deadline=None)
@given(
    user=st.text(st.characters(exclude_characters="secret", codec="utf-8"), max_size=5),
    before=st.text("?#@/:%&=[]", max_size=6),
    tail=st.sampled_from(["@host:1/0", "@host", "@[::1]:6379/0", "@host/0?x=1", "?password=a@b"]),
    scheme=st.sampled_from(["redis", "rediss", "unix"]),
)
def test_masked_shows_no_password(user: str, before: str, tail: str, scheme: str) -> None:
    """Whatever stands before the host, however badly quoted."""
    assert "secret" not in masked(f"{scheme}://{user}:{before}secret{before}{tail}")
    assert "secret" not in masked(f"{scheme}://{user}:secret{before}{tail}")


def test_masked_shows_where() -> None:
    assert masked("redis://user:secret@host:6380/3?x=1") == "redis://***@host:6380/3"
    assert masked("redis://localhost") == "redis://localhost"
    assert masked("unix:///run/redis.sock?password=secret") == "unix:///run/redis.sock"


def test_the_breakers_states() -> None:
    """Closed, open, half-open with one probe, open again or closed; a lost probe is replaced."""
    now, states = [0.0], list[str]()
    breaker = Breaker("it", failures=2, reset_s=10, probe_s=5, clock=lambda: now[0], changed=states.append)
    breaker.failed("x")
    breaker.succeeded()
    breaker.failed("x")
    breaker.check()
    breaker.failed("x")
    with pytest.raises(RedisUnavailable) as caught:
        breaker.check()
    assert caught.value.retry_after_s == 10
    now[0] = 10.0
    breaker.check()  # the probe
    with pytest.raises(RedisUnavailable):
        breaker.check()
    now[0] = 15.0
    breaker.check()  # the first was lost
    breaker.failed("x")
    with pytest.raises(RedisUnavailable):
        breaker.check()
    now[0] = 25.0
    breaker.check()
    breaker.succeeded()
    breaker.check()
    assert states == ["open", "half-open", "open", "half-open", "closed"]
    assert breaker.refused == 3


async def test_closing_twice_and_unused(make: Make, redis_url: str) -> None:
    """aclose() may come at any time."""
    redis = make(redis_url, deadline_s=30.0)
    await redis.aclose()
    await redis.ping()
    await asyncio.gather(redis.aclose(), redis.aclose())
    await redis.aclose()
