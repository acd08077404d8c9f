"""``cached``: on views and functions, sync and async, with each of its options."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster
from quart import Response, abort, jsonify, make_response, request
from werkzeug.exceptions import HTTPException, NotFound

from decant import Quart
from decant.cache import (
    Cache,
    CachedResponse,
    cache_memoize_hit,
    cache_memoize_miss,
    cache_view_hit,
    cache_view_miss,
)

from .conftest import Counter, Make

QUERIES = ("a=1&b=2", "b=2&a=1", "a=1", "a=1&a=2", "")
Pair = tuple[Quart, Cache]


async def text(app: Quart, path: str, **options: Any) -> str:
    response = await app.test_client().get(path, **options)
    return (await response.get_data(as_text=True)).strip()


@pytest.mark.parity("caching", "timeout int/timedelta/None (sub-second rounds up)")
@pytest.mark.parity("caching", "key_prefix str (%s = request.path) or callable")
async def test_views_of_every_kind(simple: Pair) -> None:
    """What they return comes back as it was: texts, dictionaries, tuples, responses; sync and async."""
    app, cache = simple
    count = {"n": 0}

    def number() -> int:
        count["n"] += 1
        return count["n"]

    @app.get("/sync")
    @cache.cached(timeout=60)
    def sync() -> Any:
        return {"n": number()}

    @app.get("/tuple")
    @cache.cached(timeout=dt.timedelta(seconds=59, milliseconds=200))
    async def as_tuple() -> Any:
        return f"n{number()}", 201, {"X-Mine": "1"}

    @app.get("/response")
    @cache.cached()
    async def response() -> Any:
        made = await make_response(jsonify(n=number()), 202)
        made.headers.add("X-Mine", "1")
        made.headers.add("X-Mine", "2")
        return made

    @app.get("/in-tuple")
    @cache.cached()
    async def in_tuple() -> Any:
        return Response(f"n{number()}", content_type="text/plain"), 203

    client = app.test_client()
    for path, status in (("/sync", 200), ("/tuple", 201), ("/response", 202), ("/in-tuple", 203)):
        first, second = await client.get(path), await client.get(path)
        assert first.status_code == second.status_code == status
        assert await first.get_data() == await second.get_data()
        assert list(first.headers.items()) == list(second.headers.items())
    assert count["n"] == 4
    with_prefix = cache.cached(key_prefix="named")(number)
    async with app.app_context():
        assert [await with_prefix(), await with_prefix()] == [5, 5], "a plain function, outside of a request"
        assert await cache.get("named") == 5
        assert await cache.get("view//sync") == {"n": 1}
        by_callable = cache.cached(key_prefix=lambda: "called")(number)
        assert await by_callable() == await cache.get("called") == 6

        async def key() -> str:
            return "awaited"

        assert await cache.cached(key_prefix=key)(number)() == await cache.get("awaited")


@pytest.mark.parity("caching", "query_string bool -> key_prefix + hash(sorted args)")
@pytest.mark.parity("caching", "hash_method")
async def test_the_query_in_any_order_is_one_key(simple: Pair, counter: Counter) -> None:
    app, cache = simple

    @app.get("/works")
    @cache.cached(query_string=True, hash_method=hashlib.md5)
    async def works() -> str:
        return str(await counter())

    assert [await text(app, f"/works?{query}") for query in ("a=1&b=2", "b=2&a=1", "a=1", "a=1&a=2", "")] == list(
        "11234"
    )
    async with app.app_context():
        key = works.make_cache_key(path="/works", query_args={"b": 2, "a": 1})
        assert key == "view//works" + hashlib.md5(b"(('a', '1'), ('b', '2'))").hexdigest()
        assert await cache.delete_cached(works, "/works", "?b=2&a=1")
        assert not await cache.delete_cached(works, "/works", [("c", "1")])
    assert await text(app, "/works?a=1&b=2") == "5"
    assert await text(app, "/works?a=1") == "2"


@pytest.mark.parity("caching", "unless callable (0 args or (f,*a,**k)), must return True")
@pytest.mark.parity("caching", "forced_update callable (0 args or call args)")
async def test_unless_and_forced_update(simple: Pair, counter: Counter) -> None:
    """Each takes no arguments or the call's, may be async, and only True counts."""
    app, cache = simple
    flags: dict[str, Any] = {"unless": False, "forced": False}
    seen: list[Any] = []

    def unless(f: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append((f, args, kwargs))
        return flags["unless"]

    async def forced() -> Any:
        return flags["forced"]

    @cache.cached(key_prefix="k", unless=unless, forced_update=forced)
    async def f(a: int = 0) -> int:
        return await counter()

    async with app.app_context():
        assert [await f(), await f(7)] == [1, 1]
        flags["unless"] = True
        assert await f() == 2
        assert await cache.get("k") == 1, "bypassed: neither read nor written"
        flags["unless"] = "truthy"
        assert await f() == 1
        flags["forced"] = True
        assert await f() == 3
        flags["forced"] = False
        assert await f() == 3
    assert seen[1] == (f.uncached, (7,), {})


async def test_options_that_are_no_functions(simple: Pair, counter: Counter) -> None:
    """False is none, as for Flask-Caching; all else is an error where it is written, not in a request."""
    app, cache = simple
    off: dict[str, Any] = dict.fromkeys(("unless", "forced_update", "is_stale", "response_filter"), False)
    for decorate in (
        cache.cached(key_prefix="k", make_cache_key=False, **off),  # type: ignore[arg-type]
        cache.memoize(make_name=False, **off),  # type: ignore[arg-type]
    ):
        f = decorate(counter.__call__)
        async with app.app_context():
            assert await f() == await f()
    for wrong in ("unless", "forced_update", "is_stale", "response_filter", "hash_method"):
        for method in (cache.cached, cache.memoize):
            with pytest.raises(TypeError, match=f"{wrong}=True: a function is needed"):
                method(**{wrong: True})  # type: ignore[arg-type]
    for wrong, value in (("timeout", -5), ("stale_while_revalidate", -5), ("jitter", 2)):
        for method in (cache.cached, cache.memoize):
            with pytest.raises(ValueError, match=r"-5|jitter=2"):
                method(**{wrong: value})  # type: ignore[arg-type]


@pytest.mark.parity("caching", "is_stale(value[, *args]) on hit only")
async def test_is_stale_is_asked_on_hits_only(simple: Pair, counter: Counter) -> None:
    app, cache = simple
    asked: list[Any] = []

    def is_stale(value: Any, minimum: int) -> bool:
        asked.append((value, minimum))
        return value < minimum

    @cache.cached(key_prefix="k", is_stale=is_stale)
    async def f(minimum: int) -> int:
        return await counter()

    async with app.app_context():
        assert [await f(1), await f(1), await f(2), await f(2)] == [1, 1, 2, 2]
    assert asked[0] == (1, 1)
    assert (1, 2) in asked


@pytest.mark.parity("caching", "response_filter(rv); gets HTTPException.get_response()")
async def test_response_filter(simple: Pair, counter: Counter) -> None:
    """It keeps errors out; a raised one is shown to it as its response."""
    app, cache = simple
    shown: list[Any] = []

    async def is_fine(value: Any) -> bool:
        shown.append(value)
        return not hasattr(value, "status_code") or value.status_code != 404

    @app.get("/<int:code>")
    @cache.cached(response_filter=is_fine)
    async def view(code: int) -> str:
        await counter()
        if code != 200:
            abort(code)
        return "fine"

    client = app.test_client()
    for code in (200, 404, 403):
        for _ in range(2):
            assert (await client.get(f"/{code}")).status_code == code
    assert counter.calls == 4, "only the 404 was computed twice"
    assert [getattr(value, "status_code", value) for value in shown] == ["fine", 404, 404, 403]


@pytest.mark.parity("caching", "cached behaviour: HTTPException raised by the view is cached and re-raised (2.5.0)")
async def test_http_errors_are_cached_and_raised_again(simple: Pair, counter: Counter) -> None:
    """Error handlers see them on a hit, with description and headers; a user's own kind is not cached."""
    app, cache = simple

    class Teapot(HTTPException):
        code, description = 418, "short and stout"

    @app.get("/<kind>")
    @cache.cached()
    async def view(kind: str) -> str:
        await counter()
        if kind == "own":
            raise Teapot
        if kind == "busy":
            abort(429, description="slow down", retry_after=7)
        raise NotFound(f"no {kind}")

    @app.errorhandler(404)
    async def handler(error: HTTPException) -> tuple[str, int]:
        return f"handled: {error.description}", 404

    client = app.test_client()
    for _ in range(2):
        assert await text(app, "/x") == "handled: no x"
        busy = await client.get("/busy")
        assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    assert counter.calls == 2
    assert [(await client.get("/own")).status_code for _ in range(2)] == [418, 418]
    assert counter.calls == 4


@pytest.mark.parity("caching", "cache_none")
async def test_none_is_a_value_if_told_so(simple: Pair, counter: Counter) -> None:
    app, cache = simple

    def nothing(prefix: str, **options: Any) -> Any:
        @cache.cached(key_prefix=prefix, **options)
        async def f() -> None:
            await counter()

        return f

    async with app.app_context():
        kept, not_kept = nothing("a", cache_none=True), nothing("b")
        for _ in range(3):
            assert await kept() is None
        assert counter.calls == 1
        for _ in range(3):
            assert await not_kept() is None
        assert counter.calls == 4


@pytest.mark.parity("caching", "make_cache_key(*args,**kw)")
async def test_make_cache_key(simple: Pair, counter: Counter) -> None:
    """With one's own key, a POST can be cached; with the path alone it is not."""
    app, cache = simple

    async def key(name: str) -> str:
        return f"{name}:{await request.get_data(as_text=True)}"

    @app.post("/own/<name>")
    @cache.cached(make_cache_key=key)
    async def own(name: str) -> str:
        return str(await counter())

    @app.route("/path", methods=["GET", "POST"])
    @cache.cached()
    async def path() -> str:
        return request.method + str(await counter())

    client = app.test_client()
    answers = [await (await client.post("/own/x", data=body)).get_data(as_text=True) for body in ("a", "a", "b")]
    assert answers == ["1", "1", "2"]
    assert await text(app, "/path") == "GET3"
    assert await (await client.post("/path")).get_data(as_text=True) == "POST4"
    assert await text(app, "/path") == "GET3"


@pytest.mark.parity("caching", "source_check")
@pytest.mark.parity("caching", "CACHE_SOURCE_CHECK")
@pytest.mark.parametrize("configured", [True, False])
async def test_source_check(make: Make, no_blocking: BlockBuster, configured: bool) -> None:
    """Two functions with one key and another source are two values. Their sources are not read in a request."""
    app, cache = make({"CACHE_TYPE": "SimpleCache", "CACHE_SOURCE_CHECK": configured})
    checks = None if configured else True
    no_blocking.deactivate()

    @cache.cached(key_prefix="same", source_check=checks)
    async def first() -> str:
        return "first"

    @cache.cached(key_prefix="same", source_check=checks)
    async def second() -> str:
        return "second"

    no_blocking.activate()

    async with app.app_context():
        assert [await first(), await second(), await first()] == ["first", "second", "first"]
        assert first.make_cache_key() != second.make_cache_key()


@pytest.mark.parity("caching", "response_hit_indication -> response header hit_cache: True")
async def test_hit_indication(simple: Pair, counter: Counter) -> None:
    """The header is there for a hit, errors included, and not otherwise."""
    app, cache = simple

    @app.get("/<kind>")
    @cache.cached(response_hit_indication=True)
    def view(kind: str) -> str:
        if kind == "no":
            abort(410)
        return "yes"

    client = app.test_client()
    for path in ("/yes", "/no"):
        headers = [(await client.get(path)).headers.get("hit_cache") for _ in range(3)]
        assert headers == [None, "True", "True"]


@pytest.mark.parity("caching", "cached: attributes of the result")
async def test_attributes_of_the_result(make: Make, counter: Counter) -> None:
    now = [0.0]
    app, cache = make({"CACHE_TYPE": "SimpleCache", "CACHE_OPTIONS": {"clock": lambda: now[0]}})

    @app.get("/hello/<name>")
    @cache.cached(timeout=60)
    async def hello(name: str) -> str:
        return name + str(await counter())

    assert hello.cache_timeout == 60
    assert asyncio.iscoroutinefunction(hello)
    assert hello.__name__ == "hello"
    hello.cache_timeout = 0.05
    assert await text(app, "/hello/ada") == "ada1"
    now[0] += 0.06
    assert await text(app, "/hello/ada") == "ada2"
    async with app.app_context():
        assert await hello.uncached("bob") == "bob3"
        assert hello.make_cache_key(path="/hello/ada") == "view//hello/ada"
    async with app.test_request_context("/elsewhere"):
        assert hello.make_cache_key("ada") == hello.make_cache_key(name="ada") == "view//hello/ada"
        assert hello.make_cache_key("ada", use_request=True) == "view//elsewhere"
        await cache.set("view//hello/ada", "x")
        assert await cache.delete_cached(hello, name="ada")
    hello.make_cache_key = lambda *args, **kwargs: "replaced"
    assert await text(app, "/hello/ada") == "ada4"
    async with app.app_context():
        assert await cache.get("replaced") == "ada4"


@pytest.mark.parity("caching", "delete_cached(f, path=None, query_args=None, **view_kwargs)->bool")
async def test_delete_cached(simple: Pair, counter: Counter) -> None:
    app, cache = simple

    @app.get("/x")
    @cache.cached()
    async def x() -> str:
        return str(await counter())

    assert [await text(app, "/x"), await text(app, "/x")] == ["1", "1"]
    async with app.app_context():
        assert await cache.delete_cached(x, path="/x") is True
        assert await cache.delete_cached(x, path="/x") is False
    assert await text(app, "/x") == "2"


@pytest.mark.parity("caching", "CachedResponse(response, timeout)")
@pytest.mark.parametrize("seconds", [1.0, dt.timedelta(minutes=1)])
async def test_a_response_has_a_time_of_its_own(make: Make, counter: Counter, seconds: Any) -> None:
    """Whose name collides with the timeout of Quart's responses, which is put back."""
    now = [0.0]
    app, cache = make({"CACHE_TYPE": "SimpleCache", "CACHE_OPTIONS": {"clock": lambda: now[0]}})
    sent: list[Any] = []

    @app.get("/")
    @cache.cached(timeout=60)
    async def view() -> Any:
        response = CachedResponse(await make_response(str(await counter()), {"X-Mine": "1"}), seconds)
        assert isinstance(response, CachedResponse | Response)
        assert response.timeout == (1.0 if seconds == 1.0 else 60)
        return response

    @app.after_request
    async def look(response: Any) -> Any:
        sent.append(response.timeout)
        return response

    first = await app.test_client().get("/")
    assert (await first.get_data(), first.headers["X-Mine"]) == (b"1", "1")
    assert await text(app, "/") == "1"
    now[0] += 1.05
    assert await text(app, "/") == ("2" if seconds == 1.0 else "1")
    assert set(sent) == {...}, "no deadline for sending"


@pytest.mark.parity("caching", "cached behaviour: generator results joined (str/bytes) or list")
async def test_generators_are_joined(simple: Pair) -> None:
    app, cache = simple

    def generate(*items: Any) -> Iterator[Any]:
        yield from items

    async def generate_async(*items: Any) -> AsyncIterator[Any]:
        for item in items:
            yield item

    @app.get("/page")
    @cache.cached()
    def page() -> Iterator[str]:
        yield "a"
        yield "b"

    assert [await text(app, "/page"), await text(app, "/page")] == ["ab", "ab"]
    async with app.app_context():
        for index, source in enumerate((generate, generate_async)):
            for items, joined in ((("a", "b"), "ab"), ((b"a", b"b"), b"ab"), ((1, "b"), [1, "b"])):
                f = cache.cached(key_prefix=f"{index}{items}")(source)
                assert [await f(*items), await f(*items)] == [joined, joined]


async def test_streams_and_files_are_not_cached(simple: Pair, counter: Counter) -> None:
    app, cache = simple

    @app.get("/")
    @cache.cached()
    async def view() -> Any:
        number = await counter()

        async def stream() -> AsyncIterator[str]:
            yield f"{number}"

        return Response(stream())

    assert [await text(app, "/"), await text(app, "/")] == ["1", "2"]


@pytest.mark.parity("caching", "cache_view_hit/miss, cache_memoize_hit/miss")
@pytest.mark.parity("caching", "CACHE_ENABLE_SIGNALS")
async def test_signals(make: Make) -> None:
    """With Flask-Caching's arguments; receivers may be async; none are sent unless configured."""
    seen: list[tuple[str, dict[str, Any]]] = []

    async def hit(sender: Any, **kwargs: Any) -> None:
        seen.append(("hit", kwargs))

    def miss(sender: Any, **kwargs: Any) -> None:
        assert sender is None
        seen.append(("miss", kwargs))

    for signal in (cache_view_hit, cache_memoize_hit):
        signal.connect(hit)
    for signal in (cache_view_miss, cache_memoize_miss):
        signal.connect(miss)
    for enabled in (False, True):
        app, cache = make({"CACHE_TYPE": "SimpleCache", "CACHE_ENABLE_SIGNALS": enabled})
        f = cache.cached(key_prefix="k")(lambda a, b: 1)
        m = cache.memoize()(lambda a, b: 1)
        async with app.app_context():
            for function in (f, f, m, m):
                await function(1, b=2)
        if not enabled:
            assert seen == []
    assert [name for name, _ in seen] == ["miss", "hit", "miss", "hit"]
    assert seen[0][1] == {"cache": cache, "cache_key": "k", "args": (1,), "kwargs": {"b": 2}}
    assert seen[2][1]["f"] is m.uncached


class Recording(Cache):
    """Notes which of its methods are called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.called: list[str] = []
        super().__init__(*args, **kwargs)

    async def get(self, key: str) -> Any:
        self.called.append("get")
        return await super().get(key)

    async def set(self, *args: Any, **kwargs: Any) -> bool:
        self.called.append("set")
        return await super().set(*args, **kwargs)

    async def add(self, *args: Any, **kwargs: Any) -> bool:
        self.called.append("add")
        return await super().add(*args, **kwargs)

    async def has(self, key: str) -> bool:
        self.called.append("has")
        return await super().has(key)

    async def get_many(self, *keys: str) -> list[Any]:
        self.called.append("get_many")
        return await super().get_many(*keys)

    async def delete(self, key: str) -> bool:
        self.called.append("delete")
        return await super().delete(key)


@pytest.mark.parity(
    "caching",
    "has(key), delete_many(*keys)->list, get_many(*keys)->list, set_many(mapping, timeout)->list, get_dict(*keys)",
)
async def test_the_decorators_call_the_public_methods(make: Make) -> None:
    """So that a subclass may override them. (Versions are made by add, where Flask-Caching sets them.)"""
    app, cache = make({"CACHE_TYPE": "SimpleCache"}, kind=Recording)
    f = cache.cached(key_prefix="k", cache_none=True)(lambda: None)
    m = cache.memoize()(lambda: 1)
    async with app.app_context():
        for function, miss, hit in (
            (f, ["get", "has", "set"], ["get", "has"]),
            (m, ["get_many", "add", "get_many", "get", "set"], ["get_many", "get"]),
        ):
            await function()
            assert cache.called == miss
            cache.called.clear()
            await function()
            assert cache.called == hit
            cache.called.clear()
        await cache.delete_cached(f)
        assert cache.called == ["delete"]


async def test_what_cannot_be_cached_is_answered_all_the_same(simple: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """And logged with its type; in debug mode it is raised."""
    app, cache = simple

    @cache.cached(key_prefix="k")
    async def f() -> Any:
        return lambda: 1

    async with app.app_context():
        assert callable(await f())
        assert "function cannot be cached" in caplog.text
        async with asyncio.timeout(20):
            assert callable(await f()), "the next caller is not held up"
        app.debug = True
        with pytest.raises(TypeError, match="function cannot be cached"):
            await f()


@pytest.mark.parity("caching", "cached behaviour: info log in debug")
async def test_debug_says_which_key_was_used(simple: Pair, caplog: pytest.LogCaptureFixture) -> None:
    app, cache = simple
    app.debug = True
    f = cache.cached(key_prefix="my-key")(lambda: 1)
    caplog.set_level(logging.INFO, "decant.cache")
    async with app.app_context():
        await f()
        assert "my-key" not in caplog.text
        await f()
    assert "Cache used for key: my-key" in caplog.text
