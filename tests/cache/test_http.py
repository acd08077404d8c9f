"""Beyond Flask-Caching: whose answer it is, ETag, Cache-Control, Vary, tags, stale values, jitter."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import quart
from quart import Response, abort, flash, g, get_flashed_messages, make_response, request, session, websocket

from decant import Quart
from decant.cache import Cache

from .conftest import Counter, Make

Pair = tuple[Quart, Cache]


async def body(client: Any, path: str = "/", **options: Any) -> str:
    response = await client.get(path, **options)
    assert response.status_code == 200
    return str(await response.get_data(as_text=True))


def site(app: Quart, cache: Cache, **options: Any) -> None:
    """A page that says who it is for, and a way to log in."""
    app.extensions["computed"] = 0

    @app.get("/")
    @cache.cached(**options)
    async def page() -> str:
        app.extensions["computed"] += 1
        who = session.get("user") or request.headers.get("Authorization") or "nobody"
        return f"for {who}, {app.extensions['computed']}"

    @app.get("/login/<name>")
    async def login(name: str) -> str:
        session["user"] = name
        return "in"


async def test_what_is_made_for_one_is_not_given_to_another(simple: Pair) -> None:
    """A request with a session is neither answered from the cache nor kept, and says ``Vary: Cookie``."""
    app, cache = simple
    site(app, cache)
    ada, bob, anyone = app.test_client(), app.test_client(), app.test_client()
    await ada.get("/login/ada")
    await bob.get("/login/bob")
    assert [await body(ada), await body(bob), await body(anyone)] == ["for ada, 1", "for bob, 2", "for nobody, 3"]
    assert [await body(ada), await body(anyone)] == ["for ada, 4", "for nobody, 3"]
    assert await body(anyone, headers={"Authorization": "Bearer x"}) == "for Bearer x, 5"
    assert await body(anyone) == "for nobody, 3"
    assert "Cookie" in (await anyone.get("/")).headers["Vary"], "caches on the way keep them apart, too"


async def test_that_a_session_keeps_a_view_from_the_cache_is_said_once(
    simple: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Who comes from Flask-Caching, where such a view is cached for all, would wonder why each request computes."""
    app, cache = simple
    site(app, cache)
    anyone, ada = app.test_client(), app.test_client()
    with caplog.at_level(logging.INFO, "decant.cache"):
        await body(anyone)
        assert not caplog.records
        await ada.get("/login/ada")
        await body(ada)
        await body(ada)
    assert len(caplog.records) == 1
    assert "page is not cached for requests with a session" in caplog.text
    assert "ignore_identity=True" in caplog.text


async def test_per_user_keeps_one_value_for_each(simple: Pair) -> None:
    app, cache = simple
    site(app, cache, per_user=True, cache_control=True)
    clients = {name: app.test_client() for name in ("ada", "bob")}
    for name, client in clients.items():
        await client.get(f"/login/{name}")
    first = {name: await body(client) for name, client in clients.items()}
    assert first == {"ada": "for ada, 1", "bob": "for bob, 2"}
    assert {name: await body(client) for name, client in clients.items()} == first
    anyone = app.test_client()
    assert [await body(anyone), await body(anyone)] == ["for nobody, 3"] * 2
    tokens = [{"Authorization": token} for token in ("a", "b", "a")]
    assert [await body(anyone, headers=token) for token in tokens] == ["for a, 4", "for b, 5", "for a, 4"]
    assert (await anyone.get("/")).headers["Cache-Control"].startswith("private, max-age=")


async def test_per_user_by_a_function_of_ones_own(make: Make) -> None:
    """On the view, or CACHE_USER_ID for all; the key does not show who it is."""

    async def who() -> str | None:
        return request.headers.get("X-User")

    for options, config in (({"per_user": who}, {}), ({"per_user": True}, {"CACHE_USER_ID": who})):
        app, cache = make({"CACHE_TYPE": "SimpleCache"}, **config)
        site(app, cache, **options)
        client = app.test_client()
        headers = [{"X-User": name} for name in ("ada", "bob", "ada")]
        answers = [await body(client, headers=each) for each in headers]
        assert answers == ["for nobody, 1", "for nobody, 2", "for nobody, 1"]
        async with app.app_context():
            assert not any("ada" in key for key in cache.cache._cache)


@pytest.mark.parametrize("ignore", [False, True])
async def test_a_response_that_sets_a_cookie_is_not_kept(simple: Pair, counter: Counter, ignore: bool) -> None:
    """Whether the view sets it, in a response or a tuple, or the session does; unless told so."""
    app, cache = simple

    @app.get("/<kind>")
    @cache.cached(ignore_identity=ignore)
    async def view(kind: str) -> Any:
        number = str(await counter())
        if kind == "session":
            session["user"] = number
        elif kind == "flash":
            await flash(number)
        elif kind == "response":
            response = await make_response(number)
            response.set_cookie("token", number)
            return response
        elif kind == "tuple":
            return number, {"Set-Cookie": f"token={number}"}
        return number

    for kind in ("session", "flash", "response", "tuple"):
        first = await body(app.test_client(use_cookies=False), f"/{kind}")
        assert (await body(app.test_client(use_cookies=False), f"/{kind}") == first) is ignore
    plain = await body(app.test_client(), "/plain")
    assert await body(app.test_client(), "/plain") == plain


async def test_ignoring_identity_is_flask_cachings_way(make: Make) -> None:
    """By configuration for all views; the cache then adds no Vary (Quart 0.23 has one of its own)."""
    app, cache = make({"CACHE_TYPE": "SimpleCache", "CACHE_IGNORE_IDENTITY": True})

    @app.get("/")
    @cache.cached()
    async def page() -> str:
        return "the same for all"

    @app.get("/plain")
    async def plain() -> str:
        return ""

    client = app.test_client()
    response = await client.get("/", headers={"Authorization": "x"})
    assert response.headers.get("Vary") == (await client.get("/plain")).headers.get("Vary")
    async with app.app_context():
        assert await cache.has("view//")


async def test_a_plain_function_is_cached_whoever_asks(simple: Pair, counter: Counter) -> None:
    """The rule is for views: what a function computes is not an answer."""
    app, cache = simple
    number = cache.cached(key_prefix="number")(counter.__call__)

    @app.get("/")
    async def page() -> str:
        session["user"] = "ada"
        return str(await number())

    client = app.test_client()
    assert [await body(client), await body(client)] == ["1", "1"]

    @app.get("/fixed")
    @cache.cached(key_prefix="fixed")
    async def fixed() -> str:
        return str(await counter())

    assert [await body(client, "/fixed"), await body(client, "/fixed")] == ["2", "3"], "a view with a fixed key is one"


async def test_flashed_messages_are_nobody_elses(simple: Pair) -> None:
    app, cache = simple

    @app.get("/")
    @cache.cached(per_user=True)
    async def page() -> str:
        return ",".join(get_flashed_messages())

    @app.get("/flash")
    async def say() -> str:
        await flash("hello")
        return ""

    client = app.test_client()
    await client.get("/flash")
    assert await body(client) == "hello"
    assert await body(client) == ""
    assert await body(app.test_client()) == ""


async def test_etag_and_304(simple: Pair, counter: Counter) -> None:
    app, cache = simple

    @app.get("/")
    @cache.cached(etag=True, cache_control="public, max-age=60")
    async def page() -> Any:
        return {"n": await counter()}, 200, {"X-Mine": "1"}

    client = app.test_client()
    first = await client.get("/")
    tag = first.headers["ETag"]
    for headers, status in (({"If-None-Match": tag}, 304), ({"If-None-Match": '"x"'}, 200), ({}, 200)):
        answer = await client.get("/", headers=headers)
        assert answer.status_code == status
        assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (tag, "public, max-age=60")
        assert await answer.get_data() == (b"" if status == 304 else await first.get_data())
    assert counter.calls == 1
    async with app.app_context():
        await cache.clear()
    assert (await client.get("/", headers={"If-None-Match": tag})).headers["ETag"] != tag
    assert (await client.head("/", headers={"If-None-Match": '"x"'})).headers["ETag"]


async def test_cache_control_counts_down(simple: Pair, counter: Counter) -> None:
    app, cache = simple

    @app.get("/<status>")
    @cache.cached(timeout=100, cache_control=True, response_filter=lambda response: response.status_code == 200)
    async def page(status: str) -> Any:
        return Response(str(await counter()), int(status))

    client = app.test_client()
    assert (await client.get("/200")).headers["Cache-Control"] in ("public, max-age=99", "public, max-age=100")
    async with app.app_context():
        entry = await cache.get("view//200")
        entry.stored_at -= 40
        await cache.set("view//200", entry)
    assert (await client.get("/200")).headers["Cache-Control"] in ("public, max-age=59", "public, max-age=60")
    assert "Cache-Control" not in (await client.get("/500")).headers, "what is not kept here is not promised"


async def test_vary(simple: Pair, counter: Counter) -> None:
    app, cache = simple

    @app.get("/")
    @cache.cached(vary=("Accept-Language",))
    async def page() -> Any:
        return f"{request.headers.get('Accept-Language')} {await counter()}", 200, {"Vary": "Origin"}

    client = app.test_client()
    languages = [{"Accept-Language": language} for language in ("de", "en", "de")]
    assert [await body(client, headers=language) for language in languages] == ["de 1", "en 2", "de 1"]
    response = await client.get("/", headers=languages[0])
    assert {name.strip() for name in response.headers["Vary"].split(",")} >= {"Origin", "Accept-Language"}


@pytest.mark.parametrize("options", [{"vary": "Accept-Language"}, {"per_user": True}])
async def test_a_view_with_many_keys_is_not_deleted_by_one(simple: Pair, options: dict[str, Any]) -> None:
    """But by a tag, as the error says."""
    app, cache = simple
    site(app, cache, tags="page", **options)
    client = app.test_client()
    assert [await body(client), await body(client)] == ["for nobody, 1"] * 2
    async with app.app_context():
        with pytest.raises(ValueError, match="tags=, for invalidate_tag"):
            await cache.delete_cached(app.view_functions["page"], path="/")
        await cache.invalidate_tag("page")
    assert await body(client) == "for nobody, 2"


async def test_no_path_stands_for_another_users_or_languages_value(simple: Pair, counter: Counter) -> None:
    """Keys are told apart by what a client cannot write into a path."""
    app, cache = simple

    @app.get("/<path:path>")
    @cache.cached(vary=("Accept-Language",), per_user=lambda: request.headers.get("X-User"))
    async def page(path: str) -> str:
        return f"{path} {await counter()}"

    client = app.test_client()
    await body(client, "/x", headers={"Accept-Language": "de", "X-User": "ada"})
    async with app.app_context():
        (key,) = cache.cache._cache
        forged = key.replace("view//x", "").strip(":")
    for path in (f"/x/{forged}", f"/x:{forged}", f"/{key}"):
        assert (await body(client, path)).endswith(path[1:] + f" {counter.calls}")
    assert await body(client, "/x", headers={"Accept-Language": "de", "X-User": "ada"}) == "x 1"


async def test_in_a_websocket_it_is_a_function(simple: Pair, counter: Counter) -> None:
    app, cache = simple
    number = cache.cached(key_prefix="%s")(counter.__call__)

    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.send(f"{await number()} {await number()}")

    async with app.test_client().websocket("/ws") as socket:
        assert await socket.receive() == "1 1"


async def test_an_application_of_plain_quart(no_blocking: Any) -> None:
    """Twins need no decant.Quart: sync and async views, background refreshes, per-user values."""
    no_blocking.deactivate()
    app = quart.Quart("plain")
    app.secret_key = "for tests"
    cache = Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    calls: list[str] = []

    @app.get("/<name>")
    @cache.cached(timeout=60, stale_while_revalidate=60, etag=True, response_hit_indication=True)
    def view(name: str) -> dict[str, Any]:
        calls.append(request.path)
        return {"n": len(calls)}

    client = app.test_client()
    for expected in (1, 1):
        assert await (await client.get("/x")).get_json() == {"n": expected}
    async with app.app_context():
        entry = await cache.get("view//x")
        entry.stored_at -= 61
        await cache.set("view//x", entry)
    stale = await client.get("/x")
    assert (await stale.get_json(), stale.headers["hit_cache"]) == ({"n": 1}, "True")
    await asyncio.gather(*app.background_tasks)
    assert await (await client.get("/x")).get_json() == {"n": 2}
    assert calls == ["/x", "/x"]


async def test_tags(make: Make, config: dict[str, Any], counter: Counter) -> None:
    """Invalidating a tag reaches every view and function that has it, and no other."""
    app, cache = make(config)

    @app.get("/links/<int:number>")
    @cache.cached(tags=lambda number: [f"link:{number}", "links"])
    async def link(number: int) -> str:
        return str(await counter())

    @cache.memoize(tags="links")
    async def total() -> int:
        return await counter()

    client = app.test_client()
    async with app.app_context():

        async def state() -> list[Any]:
            return [await body(client, "/links/1"), await body(client, "/links/2"), await total()]

        assert await state() == await state() == ["1", "2", 3]
        await cache.invalidate_tag("link:1")
        assert await state() == ["4", "2", 3]
        await cache.invalidate_tag("links")
        assert await state() == ["5", "6", 7]
        await cache.invalidate_tag()
        await cache.invalidate_tag("other", "link:2")
        assert await state() == ["5", "8", 7]
        await cache.cache.aclose()


async def test_what_began_before_an_invalidation_is_not_served_after_it(simple: Pair, counter: Counter) -> None:
    app, cache = simple
    f = cache.cached(key_prefix="k", tags="t")(counter.__call__)
    counter.gate.clear()
    async with app.app_context():
        computing = asyncio.create_task(f())
        async with asyncio.timeout(30):
            while not counter.calls:
                await asyncio.sleep(0.001)
        await cache.invalidate_tag("t")
        counter.gate.set()
        assert await computing == 1
        assert [await f(), await f()] == [2, 2]


async def test_stale_while_revalidate(make: Make, config: dict[str, Any], counter: Counter) -> None:
    """After its time a view is served as it was, while one background task computes it with the same request."""
    app, cache = make(config)

    @app.get("/<name>")
    @cache.cached(timeout=0.05, stale_while_revalidate=60)
    async def page(name: str) -> str:
        assert "from_request" not in g
        return f"{request.path} {await counter()}"

    async with app.test_app() as running:
        client = running.test_client()
        assert await body(client, "/x") == "/x 1"
        await asyncio.sleep(0.06)
        counter.gate.clear()
        assert [await body(client, "/x") for _ in range(5)] == ["/x 1"] * 5
        async with asyncio.timeout(30):
            while counter.calls < 2:
                await asyncio.sleep(0.001)
        counter.gate.set()
        async with asyncio.timeout(30):
            while await body(client, "/x") == "/x 1":
                await asyncio.sleep(0.001)
        assert counter.calls <= 3


async def test_a_stale_value_is_better_than_an_error(simple: Pair, caplog: pytest.LogCaptureFixture) -> None:
    app, cache = simple
    state = {"fails": 0}

    @app.get("/")
    @cache.cached(timeout=0.05, stale_while_revalidate=60)
    async def page() -> str:
        if state["fails"] == 1:
            raise RuntimeError("broken")
        if state["fails"] == 2:
            abort(503)
        return "fine"

    async with app.test_app() as running:
        client = running.test_client()
        assert await body(client) == "fine"
        for state["fails"] in (1, 2):
            await asyncio.sleep(0.06)
            assert [await body(client) for _ in range(3)] == ["fine"] * 3
            await asyncio.gather(*app.background_tasks)
    assert "computing a new one failed: broken" in caplog.text


async def test_jitter_spreads_the_ends(make: Make) -> None:
    """By configuration or per function; from 0 to the share that is given."""
    app, cache = make({"CACHE_TYPE": "SimpleCache", "CACHE_JITTER": 0.5})
    async with app.app_context():
        for number in range(200):
            await cache.cached(timeout=1000, key_prefix=f"k{number}")(lambda: 1)()
        exact = cache.cached(timeout=1000, key_prefix="exact", jitter=0)(lambda: 1)
        await exact()
        backend = cache.cache
        lives = [backend._cache[f"k{number}"][0] - backend._clock() for number in range(200)]
        assert 490 < min(lives) < 600
        assert 900 < max(lives) <= 1000
        assert backend._cache["exact"][0] - backend._clock() > 980
