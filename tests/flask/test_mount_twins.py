"""A mounted application's halves and the servers behind them: cache, limits, database, jobs, and CORS in front."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import flask
import flask_caching
import flask_cors
import flask_limiter
import flask_limiter.util
import flask_sqlalchemy
import pytest
import quart
import sqlalchemy as sa

from decant import Quart
from decant.cache import Cache
from decant.cors import CORS
from decant.database import SQLAlchemy
from decant.faces import face, twin_of
from decant.flask import mount
from decant.limiter import Limiter
from decant.limiter.util import get_remote_address
from decant.ops.registry import prometheus


def pair(**config: Any) -> tuple[Quart, flask.Flask]:
    ours, theirs = Quart("ours"), flask.Flask("theirs")
    for app in (ours, theirs):
        app.config.update({"SECRET_KEY": "for tests", "REDIS_DEADLINE_S": 10.0} | config)
    return ours, theirs


async def get(app: Quart, path: str, **options: Any) -> tuple[int, str]:
    response = await app.test_client().get(path, **options)
    return response.status_code, str(await response.get_data(as_text=True))


# -- cache and limits -----------------------------------------------------------------------------------------------


@pytest.fixture
def cached(redis_url: str) -> Quart:
    """Flask-Caching in one half and ours in the other, with one Redis and one format of values."""
    ours, theirs = pair(CACHE_TYPE="RedisCache", CACHE_REDIS_URL=redis_url)
    their_cache = flask_caching.Cache(theirs)
    with pytest.warns(UserWarning, match="can run code"):
        our_cache = Cache(ours, config={"CACHE_SERIALIZER": "pickle"})

    @ours.get("/quart/<key>")
    async def of_quart(key: str) -> Any:
        if "value" in quart.request.args:
            await our_cache.set(key, quart.request.args["value"])
        return {"value": await our_cache.get(key)}

    @theirs.get("/flask/<key>")
    def of_flask(key: str) -> Any:
        if "value" in flask.request.args:
            their_cache.set(key, flask.request.args["value"])
        return {"value": their_cache.get(key)}

    mount(ours, theirs)
    return ours


async def test_each_half_reads_what_the_other_has_cached(cached: Quart) -> None:
    for writes, reads in (("quart", "flask"), ("flask", "quart")):
        await get(cached, f"/{writes}/by-{writes}?value=a")
        assert (await get(cached, f"/{reads}/by-{writes}"))[1].strip() == '{"value":"a"}'


@pytest.fixture
def limited(redis_url: str) -> Quart:
    ours, theirs = pair()
    options: Any = {"storage_uri": redis_url, "key_prefix": "shop", "default_limits": []}
    our_limiter = Limiter(get_remote_address, app=ours, **options)
    their_limiter = flask_limiter.Limiter(flask_limiter.util.get_remote_address, app=theirs, **options)

    async def new() -> str:
        return "quart"

    ours.add_url_rule("/new", "new", our_limiter.shared_limit("4/hour", scope="all")(new))
    theirs.add_url_rule("/old", "old", their_limiter.shared_limit("4/hour", scope="all")(lambda: "flask"))
    mount(ours, theirs)
    return ours


async def test_both_halves_count_to_one_limit(limited: Quart) -> None:
    paths = ["/new", "/old", "/old", "/new", "/new", "/old"]
    assert [(await get(limited, path))[0] for path in paths] == [200, 200, 200, 200, 429, 429]


# -- CORS -----------------------------------------------------------------------------------------------------------


def allowed(response: Any) -> list[str]:
    found: list[str] = response.headers.getlist("Access-Control-Allow-Origin")
    return found


@pytest.mark.parametrize("ours_before_mount", [True, False])
@pytest.mark.parametrize("theirs_too", [True, False])
async def test_cors_is_answered_once(ours_before_mount: bool, theirs_too: bool) -> None:
    """By Quart's rules for both halves; where the Flask half has rules of its own, its answers are left alone."""
    ours, theirs = await asyncio.to_thread(pair)
    origin = {"Origin": "https://a.example"}

    @ours.get("/new")
    async def new() -> str:
        return "quart"

    theirs.add_url_rule("/old", "old", lambda: "flask", methods=["GET", "PUT"])
    if theirs_too:
        flask_cors.CORS(theirs, origins=["https://a.example"])
    if ours_before_mount:
        CORS(ours, origins=["https://a.example"])
    mount(ours, theirs)
    if not ours_before_mount:
        CORS(ours, origins=["https://a.example"])
    client = ours.test_client()
    asks = origin | {"Access-Control-Request-Method": "PUT"}
    for path in ("/new", "/old"):
        assert allowed(await client.get(path, headers=origin)) == ["https://a.example"], path
        preflight = await client.options(path, headers=asks)
        assert allowed(preflight) == ["https://a.example"], path
        assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]


async def test_a_preflight_request_is_for_the_half_of_the_method_that_it_asks_for() -> None:
    ours, theirs = await asyncio.to_thread(pair)

    @ours.get("/links")
    async def links() -> str:
        return "quart"

    theirs.add_url_rule("/links", "links", lambda: "flask", methods=["POST"])
    flask_cors.CORS(theirs, origins=["https://a.example"])
    mount(ours, theirs)
    client = ours.test_client()
    for method, expected in (("POST", ["https://a.example"]), ("GET", [])):
        headers = {"Origin": "https://a.example", "Access-Control-Request-Method": method}
        assert allowed(await client.options("/links", headers=headers)) == expected


# -- database -------------------------------------------------------------------------------------------------------


def with_database(ours: Quart, theirs: flask.Flask, our_db: Any, their_db: Any) -> None:
    @ours.get("/quart")
    async def of_quart() -> Any:
        pid = (await our_db.session.execute(sa.text("SELECT pg_backend_pid()"))).scalar()
        return {"pid": pid}

    @theirs.get("/flask")
    def of_flask() -> Any:
        return {"pid": their_db.session.execute(sa.text("SELECT pg_backend_pid()")).scalar()}


@pytest.mark.parametrize("one_twin", [True, False])
async def test_one_pool_serves_both_halves(database_url: str, one_twin: bool) -> None:
    """With our extension in both: a pool of one connection is enough, and that is used by turns."""
    ours, theirs = await asyncio.to_thread(
        pair, SQLALCHEMY_DATABASE_URI=database_url, SQLALCHEMY_ENGINE_OPTIONS={"pool_size": 1, "max_overflow": 0}
    )
    their_db = face(SQLAlchemy)(theirs)
    our_db = twin_of(their_db) if one_twin else SQLAlchemy()
    our_db.init_app(ours)
    with_database(ours, theirs, our_db, their_db)
    mounted = mount(ours, theirs)
    assert mounted.notes == []
    async with ours.test_app():
        pids = {(await get(ours, path))[1] for path in ("/quart", "/flask", "/quart", "/flask")}
        assert len(pids) == 1
        assert all(status == 200 for status, _ in await asyncio.gather(*(get(ours, "/flask") for _ in range(5))))


@pytest.fixture
def own_pools(database_url: str) -> Iterator[tuple[Quart, flask.Flask]]:
    ours, theirs = pair(SQLALCHEMY_DATABASE_URI=database_url)
    theirs.config["SQLALCHEMY_DATABASE_URI"] = database_url.replace("postgresql:", "postgresql+psycopg:")
    our_db, their_db = SQLAlchemy(ours), flask_sqlalchemy.SQLAlchemy(theirs)
    with_database(ours, theirs, our_db, their_db)
    yield ours, theirs
    with theirs.app_context():
        their_db.engine.dispose()


async def test_with_flask_sqlalchemy_itself_each_half_has_its_pool_which_is_noted(own_pools: Any) -> None:
    ours, theirs = own_pools
    mounted = mount(ours, theirs)
    assert ["flask_sqlalchemy" in note for note in mounted.notes] == [True]
    async with ours.test_app():
        pids = {(await get(ours, path))[1] for path in ("/quart", "/flask")}
        assert len(pids) == 2


def test_another_extension_in_the_quart_half_is_noted(database_url: str) -> None:
    ours, theirs = pair(SQLALCHEMY_DATABASE_URI=database_url)
    face(SQLAlchemy)(theirs)
    ours.extensions["sqlalchemy"] = object()
    assert "'ours' uses builtins" in mount(ours, theirs).notes[0]


def test_engines_of_other_options_are_not_shared(database_url: str) -> None:
    ours, theirs = pair(SQLALCHEMY_DATABASE_URI=database_url)
    theirs.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 2}
    SQLAlchemy(ours)
    face(SQLAlchemy)(theirs)
    assert "SQLALCHEMY_ENGINE_OPTIONS" in mount(ours, theirs).notes[0]


# -- what is counted ------------------------------------------------------------------------------------------------


def counted(half: str, endpoint: str, method: str) -> float:
    labels = {"half": half, "endpoint": endpoint, "method": method}
    return float(prometheus.REGISTRY.get_sample_value("decant_requests_total", labels) or 0)


def test_requests_are_counted_by_half_and_endpoint() -> None:
    """What clients make up does not make new series: an unknown path is ``unrouted``, an unknown method ``OTHER``."""
    ours, theirs = pair()

    @ours.get("/new/<name>")
    async def counted_new(name: str) -> str:
        return name

    theirs.add_url_rule("/old/<name>", "counted_old", lambda name: name)
    mount(ours, theirs)
    series = [("quart", "counted_new", "GET"), ("flask", "counted_old", "GET"), ("flask", "unrouted", "OTHER")]
    before = [counted(*labels) for labels in series]

    async def ask() -> None:
        client = ours.test_client()
        for path in ("/new/a", "/new/b", "/old/a"):
            await client.get(path)
        for path in ("/x", "/y"):
            await client.open(path, method="MADEUP")

    asyncio.run(ask())
    assert [counted(*labels) - count for labels, count in zip(series, before, strict=True)] == [2, 1, 2]
