"""The configuration: Flask-Caching's keys, old names, wrong values, several applications."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio
from blockbuster import BlockBuster

from decant import Quart
from decant.cache import SUPPORTED_HASH_FUNCTIONS, Cache, MsgpackSerializer, PickleSerializer, backends
from decant.cache.backends import BaseCache, FileSystemCache, NullCache, SimpleCache
from decant.cache.backends.redis import RedisCache
from decant.cache.backends.threaded import ThreadedCache
from decant.errors import ConfigError, RedisUnavailable, Unavailable

from .conftest import Make, Memcached, needs_memcached


def cache_of(config: dict[str, Any], **more: Any) -> Any:
    """The backend of an application with this configuration."""
    app = Quart("test_app")
    cache = Cache(config={**config, **more})
    cache.init_app(app)
    (backend,) = app.extensions["cache"].values()
    return backend


@pytest.mark.parity("caching", "Cache")
@pytest.mark.parity("caching", "Cache(app=None, with_jinja2_ext=True, config=None) / init_app(app, config=None)")
def test_whose_configuration_wins() -> None:
    """That of init_app, then of the constructor, then of the application; app.extensions has the backend."""
    app = Quart("test_app")
    app.config.update(CACHE_TYPE="SimpleCache", CACHE_DEFAULT_TIMEOUT=1, CACHE_THRESHOLD=1)
    cache = Cache(config={"CACHE_DEFAULT_TIMEOUT": 2, "CACHE_THRESHOLD": 2})
    cache.init_app(app, {"CACHE_THRESHOLD": 3})
    backend = app.extensions["cache"][cache]
    assert isinstance(backend, SimpleCache)
    assert (backend.default_timeout, backend._threshold) == (2, 3)
    assert app.config["CACHE_THRESHOLD"] == 1, "the application's configuration is left alone"
    for wrong in ([], "simple"):
        with pytest.raises(ValueError, match="`config` must be an instance of dict or None"):
            Cache(config=wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="`config` must be an instance of dict or None"):
            Cache().init_app(Quart("x"), wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"quart\.Quart or flask\.Flask"):
        Cache(config={"CACHE_TYPE": "SimpleCache"}).init_app(type("App", (), {"config": {}, "extensions": {}})())


@pytest.mark.parity(
    "caching", "CACHE_TYPE (name in backends, dotted path, callable factory (app, config, args, kwargs), or cachelib.X)"
)
@pytest.mark.parity("caching", "CACHE_ARGS list")
@pytest.mark.parity("caching", "CACHE_OPTIONS dict kwargs")
def test_cache_type(tmp_path: Path) -> None:
    """A name, a dotted path, a class, a factory; arguments and options reach it."""

    class Mine(SimpleCache):
        pass

    seen: list[Any] = []

    def factory(app: Any, config: Any, args: Any, kwargs: Any) -> BaseCache:
        seen.append((app.name, config["CACHE_TYPE"], args, kwargs))
        return Mine(*args, **kwargs)

    assert type(cache_of({"CACHE_TYPE": "SimpleCache"})) is SimpleCache
    assert type(cache_of({"CACHE_TYPE": "flask_caching.backends.SimpleCache"})) is SimpleCache
    assert (
        type(cache_of({"CACHE_TYPE": "decant.cache.backends.file.FileSystemCache", "CACHE_DIR": tmp_path}))
        is FileSystemCache
    )
    assert type(cache_of({"CACHE_TYPE": Mine})) is Mine
    made = cache_of({"CACHE_TYPE": factory, "CACHE_ARGS": [7], "CACHE_OPTIONS": {"default_timeout": 9}})
    assert (made._threshold, made.default_timeout) == (7, 9)
    assert seen == [("test_app", factory, [7], {"default_timeout": 9, "ignore_delete_many_errors": False})]


@pytest.mark.parametrize("old", ["simple", "null", "filesystem", "redis", "memcached", "redissentinel", "rediscluster"])
def test_old_names_work_with_a_warning(old: str, tmp_path: Path, redis_url: str) -> None:
    """As tutorials have them: ``Cache(app, config={'CACHE_TYPE': 'simple'})``."""
    config = {
        "CACHE_TYPE": old,
        "CACHE_DIR": tmp_path,
        "CACHE_REDIS_CLUSTER": "127.0.0.1:1",
        "CACHE_NO_NULL_WARNING": True,
    }
    with pytest.warns(DeprecationWarning, match=rf"CACHE_TYPE '{old}' is an old name: use '(\w+)'"):
        backend = cache_of(config)
    assert type(backend).__name__.lower() == f"{old}cache"


@pytest.mark.parity("caching", "CACHE_NO_NULL_WARNING")
@pytest.mark.parity("caching", "NullCache")
def test_nothing_is_cached_by_default_and_that_is_said() -> None:
    with pytest.warns(UserWarning, match="nothing is cached"):
        backend = cache_of({})
    assert type(backend) is NullCache
    cache_of({}, CACHE_NO_NULL_WARNING=True)
    asyncio.run(nothing_is_kept(backend))


async def nothing_is_kept(backend: NullCache) -> None:
    await backend.set("a", 1)
    assert await backend.get("a") is None
    assert (await backend.add("a", 1), await backend.delete("a"), await backend.has("a")) == (True, True, False)
    assert await backend.delete_many("a", "b") == ["a", "b"]
    assert (await backend.inc("n"), await backend.clear()) == (1, True)
    with pytest.raises(TypeError, match="cannot be cached"):
        await backend.set("a", object())


async def test_with_the_null_cache_every_call_computes(make: Make) -> None:
    app, cache = make({"CACHE_TYPE": "NullCache", "CACHE_NO_NULL_WARNING": True})
    calls: list[int] = []
    for decorate in (cache.cached(key_prefix="k", tags="t"), cache.memoize()):
        f = decorate(lambda: calls.append(1) or len(calls))
        async with app.app_context():
            assert await f() != await f()


WRONG = [
    ("CACHE_TYPE", "Redis", "one of BaseCache"),
    ("CACHE_TYPE", 7, "dotted path"),
    ("CACHE_TYPE", "no.such.module", "cannot be imported"),
    ("CACHE_TYPE", "SASLMemcachedCache", "not offered"),
    ("CACHE_DEFAULT_TIMEOUT", "soon", "seconds from 0"),
    ("CACHE_DEFAULT_TIMEOUT", -3, "seconds from 0"),
    ("CACHE_DEFAULT_TIMEOUT", float("nan"), "seconds from 0"),
    ("CACHE_THRESHOLD", "many", "whole number"),
    ("CACHE_HASH_METHOD", "md5", "a hash constructor, for example hashlib.sha256"),
    ("CACHE_FILE_HASH_METHOD", "md5", "a hash constructor"),
    pytest.param("CACHE_SERIALIZER", object(), "dumps and loads", id="CACHE_SERIALIZER-object"),
    ("CACHE_OPTIONS", [1], "dictionary"),
    ("CACHE_ARGS", "x", "list"),
    ("CACHE_JITTER", 2, "from 0 to 0.9"),
    ("CACHE_LOCK_TIMEOUT", 0, "from 0.1"),
    ("CACHE_KEY_PREFIX", 7, "a text or a function"),
    ("CACHE_USER_ID", "me", "a function"),
    ("CACHE_SINGLE_FLIGHT", "no", "True or False"),
]


@pytest.mark.parity("caching", "CACHE_HASH_METHOD (ValueError if not callable)")
@pytest.mark.parametrize(("key", "value", "allowed"), WRONG, ids=[f"{key}-{value}"[:40] for key, value, _ in WRONG])
def test_a_wrong_value_stops_the_start(key: str, value: Any, allowed: str) -> None:
    """The error names the key, the value and what is allowed, and is a ValueError as in Flask-Caching."""
    with pytest.raises(ValueError, match=key) as caught:
        cache_of({"CACHE_TYPE": "SimpleCache", key: value})
    assert isinstance(caught.value, ConfigError)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


@pytest.mark.parity("caching", "CACHE_HASH_METHOD (ValueError if not callable)")
async def test_the_hash_method_makes_the_keys(make: Make) -> None:
    """Of queries and of memoized calls; a decorator may have its own."""
    app, cache = make({"CACHE_TYPE": "SimpleCache", "CACHE_HASH_METHOD": hashlib.md5})
    f, own = (
        cache.cached(query_string=True)(lambda: 1),
        cache.cached(query_string=True, hash_method=hashlib.sha1)(lambda: 1),
    )
    async with app.app_context():
        assert len(f.make_cache_key(path="/", query_args="a=1")) == len("view//") + 32
        assert len(own.make_cache_key(path="/", query_args="a=1")) == len("view//") + 40
        digests = {method: cache.memoize(hash_method=method)(len) for method in (None, hashlib.md5, hashlib.sha256)}
        keys = {method: await g.make_cache_key(len, "x") for method, g in digests.items()}
        assert keys[None] == keys[hashlib.md5] != keys[hashlib.sha256]


@pytest.mark.parity("caching", "CACHE_DEFAULT_TIMEOUT int/str/timedelta")
@pytest.mark.parametrize(("given", "seconds"), [(7, 7), ("7", 7), (dt.timedelta(milliseconds=1), 1), (0, 0), (-1, 0)])
def test_default_timeout(given: Any, seconds: int) -> None:
    assert cache_of({"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": given}).default_timeout == seconds


@pytest.mark.parity("caching", "CACHE_THRESHOLD")
@pytest.mark.parity(
    "caching", "SimpleCache(threshold=500, default_timeout, ignore_delete_many_errors, ignore_errors deprecated)"
)
async def test_memory_is_bounded_and_forgets_what_was_used_least_recently(make: Make) -> None:
    app, cache = make({"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 3})
    async with app.app_context():
        await cache.set_many({"a": 1, "b": 2, "c": 3})
        await cache.get("a")
        await cache.set("d", 4)
        assert await cache.get_many("a", "b", "c", "d") == [1, None, 3, 4]
        await cache.set("c", 3, timeout=0.001)
        await cache.get_many("a", "d")
        for number in range(100):
            await cache.set(f"key{number}", number)
        assert len(cache.cache._cache) == 3
    assert SimpleCache(threshold=0)._threshold == 500


@pytest.mark.parity("caching", "CACHE_DIR (UserWarning if missing), CACHE_FILE_HASH_METHOD")
@pytest.mark.parity("caching", "FileSystemCache(cache_dir,threshold,default_timeout,mode=0o600,hash_method,...)")
def test_files(tmp_path: Path, no_blocking: BlockBuster) -> None:
    """A directory is needed, and made; files are nobody else's, are bounded, and what is there already stays."""
    for wrong in (None, 7):
        with pytest.raises(ConfigError, match="CACHE_DIR"):
            cache_of({"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": wrong})
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"CACHE_DIR.*a directory that can be written to"):
        cache_of({"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": tmp_path / "file" / "sub"})
    folder = tmp_path / "a" / "b"
    config = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(folder), "CACHE_THRESHOLD": 5}
    backend = cache_of(config, CACHE_FILE_HASH_METHOD=hashlib.md5, CACHE_OPTIONS={"mode": 0o640})
    (folder / "notes.txt").write_text("not the cache's")

    async def work() -> None:
        for number in range(20):
            await backend.set(f"key{number}", number)
        files = list(folder.glob("*.cache"))
        assert len(files) == 5
        assert {oct(file.stat().st_mode)[-3:] for file in files} == {"640"}
        assert await backend.get("key19") == 19
        newest = folder / f"{hashlib.md5(b'key19').hexdigest()}.cache"
        newest.write_bytes(b"half")
        assert await backend.get("key19") is None, "a broken file is a miss"
        await backend.set_many({f"key{number}": number for number in range(5)})
        for file in folder.glob("*.cache"):
            os.utime(file, (4_000_000_000, 4_000_000_000))  # by a clock that was put back since
        await backend.set("newest", 1)
        assert await backend.get("newest") == 1
        assert len(list(folder.glob("*.cache"))) == 5
        await backend.clear()

    no_blocking.deactivate()  # the test itself looks at the files
    asyncio.run(work())
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == ["notes.txt"]


@pytest.mark.parity(
    "caching",
    "CACHE_SERIALIZER cachelib BaseSerializer class/instance (ValueError otherwise; UserWarning if backend has none)",
)
def test_serializers() -> None:
    cachelib = pytest.importorskip("cachelib.serializers")
    for given in (None, "msgpack", MsgpackSerializer, MsgpackSerializer()):
        assert type(cache_of({"CACHE_TYPE": "SimpleCache", "CACHE_SERIALIZER": given}).serializer) is MsgpackSerializer
    for given in ("pickle", PickleSerializer, PickleSerializer()):
        with pytest.warns(UserWarning, match="can run code in this process"):
            backend = cache_of({"CACHE_TYPE": "SimpleCache", "CACHE_SERIALIZER": given})
        assert type(backend.serializer) is PickleSerializer
    own = cache_of({"CACHE_TYPE": "SimpleCache", "CACHE_SERIALIZER": cachelib.JSONSerializer}).serializer
    assert type(own) is cachelib.JSONSerializer

    class Needy(MsgpackSerializer):
        def __init__(self, needed: int) -> None: ...

    with pytest.raises(ValueError, match="Couldn't instantiate serializer"):
        cache_of({"CACHE_TYPE": "SimpleCache", "CACHE_SERIALIZER": Needy})
    with pytest.warns(UserWarning, match="CACHE_SERIALIZER is set but .* uses none"):
        cache_of({"CACHE_TYPE": "cachelib.SimpleCache", "CACHE_SERIALIZER": MsgpackSerializer})


@pytest.mark.parity(
    "caching", "CACHE_TYPE (name in backends, dotted path, callable factory (app, config, args, kwargs), or cachelib.X)"
)
async def test_a_cache_of_cachelib_is_called_in_threads(make: Make) -> None:
    pytest.importorskip("cachelib")
    app, cache = make({"CACHE_TYPE": "cachelib.SimpleCache", "CACHE_OPTIONS": {"threshold": 9}})
    calls: list[int] = []
    f = cache.cached(key_prefix="k")(lambda: calls.append(1) or {"n": len(calls)})
    m = cache.memoize()(lambda: calls.append(1) or len(calls))
    async with app.app_context():
        backend = cache.cache
        assert isinstance(backend, ThreadedCache)
        assert [await f(), await f(), await m(), await m()] == [{"n": 1}, {"n": 1}, 2, 2]
        assert await cache.set_many({"a": 1, "b": 2}, timeout=60.5) == ["a", "b"]
        assert await cache.get_many("a", "x") == [1, None]
        assert (await cache.add("a", 2), await cache.has("a"), await cache.delete("a")) == (False, True, True)
        assert (await backend.inc("n"), await backend.dec("n", 3)) == (1, -2)
        assert await cache.delete_many("n", "b") == ["n", "b"]
        assert await cache.clear()


@pytest.mark.parity("caching", "CACHE_REDIS_URL / _HOST (str or client object) / _PORT / _PASSWORD / _DB")
@pytest.mark.parity(
    "caching", "RedisCache(host,port,password,db,default_timeout,key_prefix,ignore_delete_many_errors,**kw)"
)
async def test_where_redis_is(make: Make, redis_url: str) -> None:
    """A URL, a host and its like, a client, or the application's REDIS_URL."""
    parts = urlsplit(redis_url)
    place = {"HOST": parts.hostname, "PORT": str(parts.port), "PASSWORD": parts.password, "DB": parts.path[1:] or 0}
    client = redis.asyncio.Redis.from_url(redis_url)
    configs: list[dict[str, Any]] = [
        {"CACHE_REDIS_URL": redis_url},
        {"REDIS_URL": redis_url},
        {f"CACHE_REDIS_{name}": value for name, value in place.items()},
        {"CACHE_REDIS_HOST": client},
        {"CACHE_REDIS_URL": redis_url, "CACHE_OPTIONS": {"deadline_s": 30.0, "health_check_interval": 30}},
    ]
    for number, config in enumerate(configs):
        app, cache = make({"CACHE_TYPE": "RedisCache", "REDIS_DEADLINE_S": 30.0, **config})
        async with app.app_context():
            await cache.set("shared", number)
            assert await client.get("flask_cache_shared") == str(number).encode(), "Flask-Caching's prefix and form"
            await cache.cache.touch("shared", timeout=60)
            assert await cache.cache.inc("shared", 5) == number + 5
    await client.aclose()
    made = RedisCache("db.example", 7, "p@ss/word", 2, default_timeout=5, key_prefix="x", app=app)
    assert made.client.options.url == "redis://:p%40ss%2Fword@db.example:7/2"
    with pytest.raises(ValueError, match="RedisCache host parameter may not be None"):
        RedisCache(None)
    with pytest.raises(ValueError, match="decode_responses is not supported"):
        RedisCache(decode_responses=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"CACHE_REDIS_URL": "http://x"},
        {"CACHE_REDIS_URL": 7},
        {"CACHE_REDIS_HOST": 7},
        {"CACHE_REDIS_PORT": "x"},
    ],
    ids=str,
)
def test_a_wrong_place_of_redis_stops_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        cache_of({"CACHE_TYPE": "RedisCache", **wrong})


@pytest.mark.parity("caching", "CACHE_KEY_PREFIX")
async def test_key_prefixes_keep_caches_apart(make: Make, redis_url: str) -> None:
    """A callable one is asked each time; clear() leaves others' keys, even where the prefix has wildcards."""
    tenant = {"name": "a*"}
    config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": redis_url, "REDIS_DEADLINE_S": 30.0}
    app, cache = make(config, CACHE_KEY_PREFIX=lambda: tenant["name"])
    async with app.app_context():
        for tenant["name"] in ("a*", "ab", "b"):
            await cache.set_many({f"k{number}": tenant["name"] for number in range(1500)})
        tenant["name"] = "a*"
        assert await cache.clear() is True
        assert await cache.clear() is False
        assert await cache.get("k1") is None
        for tenant["name"] in ("ab", "b"):
            assert await cache.get("k1499") == tenant["name"]
    app, cache = make(config, CACHE_KEY_PREFIX=None)
    async with app.app_context():
        await cache.clear()
        await cache.set("k", 1)
        assert await cache.cache.client.get("k") == b"1"


@pytest.mark.parity("caching", "CACHE_IGNORE_ERRORS (-> RuntimeError from delete_many)")
@pytest.mark.parity(
    "caching", "BaseCache(default_timeout=300, ignore_delete_many_errors=False) + factory(app, config, args, kwargs)"
)
async def test_a_key_that_will_not_go(make: Make) -> None:
    """A backend of one's own writes a few methods; what delete_many cannot delete is an error unless ignored."""

    class Sticky(SimpleCache):
        async def _delete(self, keys: Any) -> list[str]:
            return await super()._delete([key for key in keys if key != "sticky"])

    for ignored in (False, True):
        app, cache = make({"CACHE_TYPE": Sticky, "CACHE_IGNORE_ERRORS": ignored})
        async with app.app_context():
            await cache.set_many({"a": 1, "sticky": 2})
            if ignored:
                assert await cache.delete_many("a", "sticky") == ["a"]
            else:
                with pytest.raises(RuntimeError, match=r"Failed to delete keys: \['sticky'\]"):
                    await cache.delete_many("a", "sticky")


async def test_one_cache_for_several_applications(make: Make, no_blocking: BlockBuster) -> None:
    """Each has a backend of its own; outside of a context it must be clear which is meant."""
    app, cache = make({"CACHE_TYPE": "SimpleCache"})
    await cache.set("a", 1)
    assert await cache.get("a") == 1, "one application needs no context"
    assert cache.app is app
    assert (cache.hash_method, cache.source_check, cache.enable_signals) == (hashlib.sha256, False, False)
    no_blocking.deactivate()
    other, stranger = Quart("other"), Quart("stranger")
    other.config["CACHE_TYPE"] = "SimpleCache"
    cache.init_app(other)
    no_blocking.activate()
    with pytest.raises(RuntimeError, match="2 applications"):
        await cache.get("a")
    async with other.app_context():
        assert await cache.get("a") is None
    async with app.app_context():
        assert await cache.get("a") == 1
    async with stranger.app_context():
        with pytest.raises(RuntimeError, match="not registered with this 'Cache' instance"):
            await cache.get("a")


def test_what_is_not_installed_is_said() -> None:
    for missing, module, extra in (
        ("msgspec", "decant.cache", "cache"),
        ("redis", "decant.cache.backends.redis", "redis"),
        ("aiomcache", "decant.cache.backends.memcached", "memcached"),
    ):
        code = f"import sys; sys.modules[{missing!r}] = None; import {module}"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert f"pip install 'quart-decant[{extra}]'" in result.stderr.splitlines()[-1]
    assert len(SUPPORTED_HASH_FUNCTIONS) == 6
    assert set(backends.__all__) == {name for name in backends.__all__ if hasattr(backends, name)}
    assert issubclass(RedisUnavailable, Exception)


@pytest.mark.parity("caching", 'CACHE_REDIS_CLUSTER "h:p,h:p" (ValueError text)')
@pytest.mark.parity("caching", "CACHE_REDIS_SENTINELS, _SENTINEL_MASTER, _SENTINEL_PASSWORD")
@pytest.mark.parity("caching", "CACHE_MEMCACHED_SERVERS / _USERNAME / _PASSWORD")
@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"CACHE_TYPE": "RedisClusterCache", "CACHE_REDIS_CLUSTER": "nowhere"}, "argument e.g. host1:port1"),
        ({"CACHE_TYPE": "RedisClusterCache"}, "correct cluster argument"),
        ({"CACHE_TYPE": "RedisSentinelCache", "CACHE_REDIS_SENTINELS": "a:1"}, "CACHE_REDIS_SENTINELS"),
        ({"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": "a:1"}, "CACHE_MEMCACHED_SERVERS"),
        ({"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": ["a:b"]}, "CACHE_MEMCACHED_SERVERS"),
        ({"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_PASSWORD": "secret"}, "does not log in"),
    ],
)  # fmt: skip
def test_a_wrong_place_of_several_servers_stops_the_start(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        cache_of(config)
    assert isinstance(caught.value, ConfigError)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["RedisClusterCache", "RedisSentinelCache"])
async def test_several_servers_that_are_away(make: Make, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views compute, each within one deadline, and then the breaker refuses at once."""
    config = {"CACHE_TYPE": kind, "CACHE_REDIS_CLUSTER": "127.0.0.1:1", "CACHE_REDIS_SENTINELS": [("127.0.0.1", 1)]}
    app, cache = make(config)
    f = cache.cached(key_prefix="k")(lambda: 1)
    async with app.app_context():
        monkeypatch.setattr(cache.cache._breaker, "_clock", lambda: 0.0)
        for _ in range(6):
            assert await f() == 1
        with pytest.raises(RedisUnavailable, match="not asked again"):
            await cache.get("k")
        await cache.cache.aclose()


@needs_memcached
async def test_several_memcached_servers_share_the_keys(make: Make, memcached: Memcached) -> None:
    second = await asyncio.to_thread(Memcached)
    await asyncio.to_thread(second.start)
    try:
        servers = [f"127.0.0.1:{memcached.port}", ("127.0.0.1", second.port)]
        app, cache = make(
            {"CACHE_TYPE": "MemcachedCache", "CACHE_MEMCACHED_SERVERS": servers}, CACHE_OPTIONS={"deadline_s": 30.0}
        )
        async with app.app_context():
            values = {f"key{number}": number for number in range(40)}
            await cache.set_many(values)
            assert await cache.get_dict(*values) == values
            await asyncio.to_thread(second.stop)
            kept = 0
            for key, value in values.items():
                try:
                    kept += await cache.get(key) == value
                except Unavailable:
                    continue
            assert 0 < kept < 40
            await cache.cache.aclose()
    finally:
        await asyncio.to_thread(second.stop)
