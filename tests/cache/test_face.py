"""Flask applications: the same class through its face, in plain threads, with code as for Flask-Caching."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flask
import pytest
import redis
from blockbuster import BlockBuster

from decant.cache import Cache, CachedResponse, cache_view_hit
from decant.cache.backends import FileSystemCache, RedisCache, SimpleCache
from decant.faces import Face, face

Flask_Cache = face(Cache)


@pytest.fixture(params=["SimpleCache", "RedisCache"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    config: dict[str, Any] = {"CACHE_TYPE": request.param, "CACHE_ENABLE_SIGNALS": True}
    if request.param == "RedisCache":
        config |= {"CACHE_REDIS_URL": request.getfixturevalue("redis_url"), "CACHE_OPTIONS": {"deadline_s": 30.0}}
    return config


@pytest.fixture
def site(config: dict[str, Any]) -> tuple[flask.Flask, Any, dict[str, int]]:
    """A site as one would have it with Flask-Caching."""
    app = flask.Flask("test_app")
    app.secret_key = "for tests"
    cache = Flask_Cache(app, config=config)
    count = {"n": 0}

    def number() -> int:
        count["n"] += 1
        return count["n"]

    @app.route("/")
    @cache.cached(timeout=50, query_string=True, response_hit_indication=True)
    def index() -> str:
        return flask.render_template_string("{% cache 60, 'f' %}fragment{% endcache %} {{ n }}", n=number())

    @app.route("/etag/<name>")
    @cache.cached(etag=True, cache_control=True, unless=lambda: flask.request.args.get("fresh") == "1")
    def etag(name: str) -> dict[str, Any]:
        return {"name": name, "n": number()}

    @app.route("/ttl")
    @cache.cached()
    def ttl() -> Any:
        return CachedResponse(flask.make_response(str(number())), 60)

    @app.route("/gone")
    @cache.cached()
    def gone() -> str:
        number()
        flask.abort(410)

    @app.route("/login")
    def login() -> str:
        flask.session["user"] = "ada"
        return "in"

    return app, cache, count


def test_a_flask_application_works_unchanged(site: tuple[flask.Flask, Any, dict[str, int]]) -> None:
    """Views without await, fragments, hit header, conditional requests, abort, sessions."""
    app, _, count = site
    client = app.test_client()
    answers = [client.get(path) for path in ("/?a=1&b=2", "/?b=2&a=1", "/?a=1")]
    assert [answer.text for answer in answers] == ["fragment 1", "fragment 1", "fragment 2"]
    assert [answer.headers.get("hit_cache") for answer in answers] == [None, "True", None]
    first = client.get("/etag/x")
    assert first.get_json() == client.get("/etag/x").get_json() == {"name": "x", "n": 3}
    assert client.get("/etag/x", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert client.get("/etag/x?fresh=1").get_json()["n"] == 4
    assert [client.get("/ttl").text, client.get("/ttl").text] == ["5", "5"]
    assert [client.get("/gone").status_code, client.get("/gone").status_code, count["n"]] == [410, 410, 6]
    client.get("/login")
    assert [client.get("/ttl").text, client.get("/ttl").text] == ["7", "8"], "a session is not answered from the cache"
    assert app.test_client().get("/ttl").text == "5"


def test_values_and_memoized_functions(site: tuple[flask.Flask, Any, dict[str, int]]) -> None:
    """Every method returns its value; the functions that decorated ones carry do too."""
    app, cache, count = site
    hits: list[Any] = []

    def hit(sender: Any, **kwargs: Any) -> None:
        hits.append(kwargs["cache"])

    class Sum:
        def __init__(self, name: str) -> None:
            self.name = name

        def __repr__(self) -> str:
            return f"Sum({self.name})"

        @cache.memoize(60)
        def add(self, a: int, b: int = 2) -> tuple[int, int, int]:
            count["n"] += 1
            return a, b, count["n"]

    @cache.memoize()
    def total() -> int:
        count["n"] += 1
        return count["n"]

    @cache.cached(key_prefix="list")
    def listed() -> list[int]:
        count["n"] += 1
        return [count["n"]]

    with app.app_context(), cache_view_hit.connected_to(hit):
        cache.clear()
        assert cache.set("a", {"x": (1, 2)}) is True
        assert (cache.get("a"), cache.add("a", 1), cache.has("a")) == ({"x": (1, 2)}, False, True)
        assert cache.set_many({"b": 1, "c": 2}) == ["b", "c"]
        assert cache.get_many("b", "x") == [1, None]
        assert cache.get_dict("b", "c") == {"b": 1, "c": 2}
        assert (cache.delete("b"), cache.delete_many("c"), cache.unlink("a")) == (True, ["c"], ["a"])
        assert (cache.cache.inc("n", 5), cache.cache.dec("n"), cache.get("n")) == (5, 4, 4)
        assert app.extensions["cache"][cache].get("n") == 4
        one, two = Sum("one"), Sum("two")
        assert [one.add(1), one.add(a=1, b=2), two.add(1)] == [(1, 2, 1), (1, 2, 1), (1, 2, 2)]
        cache.delete_memoized(one.add)
        assert [one.add(1), two.add(1)] == [(1, 2, 3), (1, 2, 2)]
        cache.delete_memoized(two.add, 1)
        assert two.add(1) == (1, 2, 4)
        cache.delete_memoized(Sum.add, two, 1)
        assert two.add(1) == (1, 2, 5)
        assert [total(), total()] == [6, 6]
        assert total.delete_memoized() is None
        assert total() == 7
        assert cache.get(total.make_cache_key(total.uncached)) == 7
        assert total.uncached() == 8
        assert [listed(), listed(), cache.get("list")] == [[9], [9], [9]]
        assert cache.delete_cached(listed) is True
        cache.invalidate_tag("none")
    assert hits == [cache]
    assert isinstance(hits[0], Face)


def test_many_threads_at_once_compute_once(
    site: tuple[flask.Flask, Any, dict[str, int]], no_blocking: BlockBuster
) -> None:
    """Each plain thread has a loop of its own; single flight holds between them, too."""
    app, cache, count = site
    no_blocking.deactivate()  # in Flask a view may block its thread

    @app.route("/slow")
    @cache.cached()
    def slow() -> str:
        time.sleep(0.2)
        count["n"] += 1
        return f"{count['n']} by {threading.get_ident()}"

    def ask(_: int) -> str:
        return app.test_client().get("/slow").text

    with ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(ask, range(40)))) == 1
    assert count["n"] == 1


def test_a_stale_value_is_computed_anew_by_the_one_who_asks(site: tuple[flask.Flask, Any, dict[str, int]]) -> None:
    """Flask has no background tasks on a loop."""
    app, cache, count = site

    @app.route("/stale")
    @cache.cached(timeout=1, stale_while_revalidate=60)
    def stale() -> str:
        count["n"] += 1
        return str(count["n"])

    client = app.test_client()
    assert client.get("/stale").text == "1"
    time.sleep(1.05)
    assert client.get("/stale").text == "2"


def test_async_views_of_flask(config: dict[str, Any]) -> None:
    pytest.importorskip("asgiref")
    app = flask.Flask("test_app")
    cache = Flask_Cache(app, config=config)
    calls: list[int] = []

    @app.route("/")
    @cache.cached()
    async def index() -> str:
        calls.append(1)
        return str(len(calls))

    assert [app.test_client().get("/").text for _ in range(2)] == ["1", "1"]


def test_a_computation_does_not_wait_for_itself(site: tuple[flask.Flask, Any, dict[str, int]]) -> None:
    """A view and a function within it that have one key, as the default one is, both compute."""
    app, cache, _ = site
    inner = cache.cached()(lambda: "inner")

    @app.route("/nested")
    @cache.cached()
    def nested() -> str:
        return f"outer {inner()}"

    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(app.test_client().get("/nested").text), daemon=True)
    asking.start()
    asking.join(20)
    assert answers == ["outer inner"]


# -- what Flask-Caching's users have beside the plain API ------------------------------------------------------------


def test_a_cachelib_store_is_shown_as_it_was_made() -> None:
    """In `cache.cache` and `app.extensions`; a serializer that is configured is given to it."""
    cachelib = pytest.importorskip("cachelib", reason="NOT TESTED: stores of cachelib, which is missing")
    app = flask.Flask("test_app")
    config = {"CACHE_TYPE": "cachelib.SimpleCache", "CACHE_SERIALIZER": cachelib.serializers.BaseSerializer()}
    cache = Flask_Cache(app, config=config)
    assert type(app.extensions["cache"][cache]) is cachelib.SimpleCache
    assert app.extensions["cache"][cache].serializer is config["CACHE_SERIALIZER"]
    with app.app_context():
        assert cache.cache is app.extensions["cache"][cache]
    plain = Flask_Cache(flask.Flask("test_app"), config={"CACHE_TYPE": "cachelib.SimpleCache"})
    assert plain.set("a", 1) is True
    assert (plain.get("a"), plain.cache.get("a")) == (1, 1)


def test_a_store_may_be_made_by_a_function_of_the_users() -> None:
    """One that subclasses the face of a store."""

    class Mine(face(SimpleCache)):  # type: ignore[misc]
        pass

    app = flask.Flask("test_app")
    cache = Flask_Cache(app, config={"CACHE_TYPE": lambda app, config, args, kwargs: Mine(threshold=3, **kwargs)})
    with app.app_context():
        assert isinstance(cache.cache, Mine)
        cache.set("a", 1)
        assert cache.cache.get("a") == 1


def test_a_subclass_sees_what_the_decorators_do() -> None:
    """Tracing wraps `get` and `set`, as it does with Flask-Caching."""
    seen: list[str] = []

    class Traced(Flask_Cache):  # type: ignore[misc, valid-type]
        def get(self, key: str) -> Any:
            seen.append("get")
            return super().get(key)

        def set(self, key: str, value: Any, timeout: Any = None) -> Any:
            seen.append("set")
            return super().set(key, value, timeout)

    app = flask.Flask("test_app")
    cache = Traced(app, config={"CACHE_TYPE": "SimpleCache"})
    app.add_url_rule("/", "index", cache.cached()(lambda: "page"))
    client = app.test_client()
    assert [client.get("/").text, client.get("/").text] == ["page", "page"]
    assert seen == ["get", "set", "get"]


def test_redis_by_a_client_of_redis_py(redis_url: str) -> None:
    """cachelib takes one as host, and has one as `_write_client`, for commands of the application's own."""
    with redis.Redis.from_url(redis_url) as client:
        store = face(RedisCache)(client, key_prefix="mine:")
        assert store.set("a", {"b": 1}) is True
        assert store.get("a") == {"b": 1}
        assert client.keys() == [b"mine:a"]
        assert store._write_client is client
    named = face(RedisCache)(redis_url)
    assert named._write_client.keys() == [b"mine:a"]
    named._write_client.close()


def test_the_database_may_be_named_beside_the_url(redis_url: str) -> None:
    """CACHE_REDIS_DB counts where the URL says none."""
    app = flask.Flask("test_app")
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": redis_url.rpartition("/")[0], "CACHE_REDIS_DB": 3}
    cache = Flask_Cache(app, config=config)
    with app.app_context():
        assert cache.cache._write_client.connection_pool.connection_kwargs["db"] == 3
        cache.cache._write_client.close()
    cache = Flask_Cache(flask.Flask("test_app"), config={**config, "CACHE_REDIS_URL": redis_url})
    assert cache.cache._write_client.connection_pool.connection_kwargs["db"] == 0
    cache.cache._write_client.close()


def test_is_stale_is_asked_once_about_a_value() -> None:
    """Also where the one who computes looks again, in case another has."""
    app, asked, values = flask.Flask("test_app"), [], iter(range(9))
    cache = Flask_Cache(app, config={"CACHE_TYPE": "SimpleCache"})

    def is_stale(value: int) -> bool:
        asked.append(value)
        return value < 1

    number = cache.memoize(is_stale=is_stale)(lambda: next(values))
    with app.app_context():
        assert [number(), number(), number()] == [0, 1, 1]
    assert asked == [0, 1]


def test_settings_that_change_or_mean_nothing(tmp_path: Path) -> None:
    """The hash may be set later; an old name, and a serializer that nothing uses, are warned of."""
    app = flask.Flask("test_app")
    cache = Flask_Cache(app, config={"CACHE_TYPE": "SimpleCache"})

    @cache.memoize()
    def double(number: int) -> int:
        return number * 2

    with app.app_context():
        before = double.make_cache_key(double.uncached, 1)
        cache.hash_method = hashlib.sha512
        assert cache.hash_method is hashlib.sha512
        assert double.make_cache_key(double.uncached, 1) != before
    for store, arguments in ((SimpleCache, {}), (FileSystemCache, {"cache_dir": str(tmp_path)})):
        with pytest.warns(DeprecationWarning, match="ignore_delete_many_errors"):
            assert store(ignore_errors=True, **arguments).ignore_delete_many_errors is True
    config = {"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True, "CACHE_SERIALIZER": "msgpack"}
    with pytest.warns(UserWarning, match="CACHE_SERIALIZER is set but"):
        Flask_Cache(app, config=config)
