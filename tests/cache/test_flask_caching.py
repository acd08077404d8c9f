"""Beside Flask-Caching itself: a Flask half and a Quart half with one Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import flask
import pytest
import redis

from decant import Quart
from decant.cache import Cache, utils

flask_caching = pytest.importorskip("flask_caching", reason="NOT TESTED: sharing with Flask-Caching, which is missing")

TIMES = {"n": 0}


def double(number: int, *, by: int = 2) -> dict[str, Any]:
    TIMES["n"] += 1
    return {"result": number * by, "computed": TIMES["n"]}


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<Thing {self.name}>"

    def method(self, a: int, b: int = 2) -> int:
        TIMES["n"] += 1
        return a * b


@pytest.fixture
def halves(redis_url: str) -> tuple[flask.Flask, Any, Quart, Cache]:
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": redis_url}
    theirs = flask.Flask("theirs")
    their_cache = flask_caching.Cache(theirs, config=config)
    ours = Quart("ours")
    ours.config["REDIS_DEADLINE_S"] = 30.0
    with pytest.warns(UserWarning, match="can run code"):
        our_cache = Cache(ours, config={**config, "CACHE_SERIALIZER": "pickle"})
    return theirs, their_cache, ours, our_cache


@pytest.mark.parametrize("value", ["text", 7, True, None, b"bytes", {"a": [1, (2, {3})]}, 1.5], ids=repr)
def test_values_are_shared(halves: Any, value: Any) -> None:
    """Whoever writes, the other reads the same, of the same type; numbers are counted together."""
    theirs, their_cache, ours, our_cache = halves

    async def ask(write: bool) -> Any:
        async with ours.app_context():
            return await our_cache.set("ours", value) if write else await our_cache.get("theirs")

    with theirs.app_context():
        their_cache.set("theirs", value)
        asyncio.run(ask(write=True))
        for found in (asyncio.run(ask(write=False)), their_cache.get("ours")):
            assert found == value
            assert type(found) is type(value)


def views(app: Any, cache: Any, calls: list[str]) -> None:
    @app.route("/page")
    @cache.cached(query_string=True)
    def page() -> Any:
        calls.append(app.name)
        return f"by {app.name}"

    @app.route("/response")
    @cache.cached()
    def response() -> Any:
        calls.append(app.name)
        return app.response_class(f"by {app.name}", 203, {"X-Mine": "1"})

    @app.route("/gone")
    @cache.cached()
    def gone() -> Any:
        calls.append(app.name)
        return app.aborter(410)


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_views_are_shared(halves: Any, first: str) -> None:
    """The same keys, and each reads the other's texts, responses and HTTP errors."""
    theirs, their_cache, ours, our_cache = halves
    calls: list[str] = []
    views(theirs, their_cache, calls)
    views(ours, our_cache, calls)

    async def ask(path: str) -> tuple[int, str, str | None]:
        answer = await ours.test_client().get(path)
        return answer.status_code, await answer.get_data(as_text=True), answer.headers.get("X-Mine")

    def ask_theirs(path: str) -> tuple[int, str, str | None]:
        answer = theirs.test_client().get(path)
        return answer.status_code, answer.text, answer.headers.get("X-Mine")

    for path in ("/page?a=1&b=2", "/response", "/gone"):
        if first == "theirs":
            assert ask_theirs(path) == asyncio.run(ask(path))
        else:
            assert asyncio.run(ask(path)) == ask_theirs(path)
    assert calls == [first] * 3


def test_memoized_functions_are_shared(halves: Any) -> None:
    """Keys and versions are the same: what one deletes is gone for the other."""
    theirs, their_cache, ours, our_cache = halves
    their_double, our_double = their_cache.memoize(60)(double), our_cache.memoize(60)(double)
    their_method, our_method = their_cache.memoize(60)(Thing.method), our_cache.memoize(60)(Thing.method)

    async def ours_says(work: Any) -> Any:
        async with ours.app_context():
            return await work()

    with theirs.app_context():
        first = their_double(4, by=3)
        assert asyncio.run(ours_says(lambda: our_double(4, by=3))) == first
        asyncio.run(ours_says(lambda: our_cache.delete_memoized(our_double)))
        second = their_double(4, by=3)
        assert second["computed"] == first["computed"] + 1
        their_cache.delete_memoized(their_double, 4, by=3)
        assert asyncio.run(ours_says(lambda: our_double(4, by=3)))["computed"] == first["computed"] + 2
        before = TIMES["n"]
        assert their_method(Thing("x"), 2) == asyncio.run(ours_says(lambda: our_method(Thing("x"), b=2, a=2))) == 4
        assert TIMES["n"] == before + 1


@pytest.mark.parametrize("args", [None, (Thing("x"),), (Thing,), (1,)])
def test_names_in_keys_are_theirs(args: Any) -> None:
    from flask_caching import utils as theirs

    for f in (double, Thing.method, Thing("x").method):
        assert utils.function_namespace(f, args) == theirs.function_namespace(f, args)
    assert utils.query_args_as_pairs("?a=1&b=") == theirs.query_args_as_pairs("?a=1&b=")


def test_without_the_pickle_serializer_their_values_are_misses(redis_url: str) -> None:
    """Unpickling is never done unasked."""
    with redis.Redis.from_url(redis_url) as client:
        client.set("flask_cache_k", b"!\x80\x04K\x01.")
    app = Quart("ours")
    app.config["REDIS_DEADLINE_S"] = 30.0
    cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": redis_url})
    assert asyncio.run(cache.get("k")) is None
