"""``with client`` and ``session_transaction``: the request's contexts in the test."""

from __future__ import annotations

import asyncio
from typing import Any

import flask
import pytest
from quart import Quart, g, has_request_context, request, session, url_for

from decant.bridge import bridged, wait
from decant.testing import Client


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def app(log: list[str], quart_class: type[Quart]) -> Quart:
    app = quart_class("test", static_folder=None)
    app.secret_key = "for tests only"
    app.test_client_class = Client

    @app.route("/count", methods=["GET", "POST"])
    async def count() -> Any:
        assert not hasattr(g, "seen"), "g of an earlier request"
        g.seen = request.args.get("name")
        session["count"] = session.get("count", 0) + 1
        return {"count": session["count"]}

    @app.get("/fails")
    async def fails() -> None:
        raise KeyError

    @app.teardown_request
    async def request_ends(error: BaseException | None) -> None:
        log.append("request")

    @app.teardown_appcontext
    async def app_ends(error: BaseException | None) -> None:
        log.append("app")

    return app


@pytest.fixture
def client(app: Quart) -> Client:
    return app.test_client()  # type: ignore[return-value]


@pytest.fixture
def flask_app() -> flask.Flask:
    app = flask.Flask("test", static_folder=None)
    app.secret_key = "for tests only"
    app.test_client()  # the first one reads files, for its version: not on the loop
    return app


async def _asks_and_looks(client: Client) -> None:
    await client.get("/count?name=a")
    assert g.seen == "a"
    assert request.path == "/count"
    assert request.args["name"] == "a"
    assert session["count"] == 1
    assert url_for("count") == "/count"
    await client.get("/count?name=b")
    assert (g.seen, session["count"]) == ("b", 2)


async def test_async_with_keeps_the_contexts_of_the_last_request(client: Client) -> None:
    """``g``, ``request``, ``session`` and ``url_for`` answer until the next request or the end of the block."""
    async with client:
        await _asks_and_looks(client)
    assert not has_request_context()
    with pytest.raises(RuntimeError):
        g.seen  # noqa: B018


async def test_plain_with_keeps_them_too_in_a_bridge(client: Client) -> None:
    async def as_in_flask() -> None:
        with client:
            await _asks_and_looks(client)
        assert not has_request_context()

    await bridged(as_in_flask())


async def test_plain_with_outside_a_bridge_is_refused_at_its_beginning(client: Client) -> None:
    async def unbridged() -> None:
        with pytest.raises(RuntimeError, match="Await instead"), client:
            pass

    await asyncio.create_task(unbridged())
    async with client:
        pass


def test_plain_with_works_without_a_loop(client: Client) -> None:
    """In a synchronous test, with ``wait`` around each request; no request sees another's ``g``."""
    with client:
        for name in ("a", "b"):
            wait(client.get(f"/count?name={name}"))
            assert (g.seen, request.path) == (name, "/count")
            assert url_for("count") == "/count"
    wait(client.get("/count"))
    with client:
        wait(client.get("/count?name=c"))
        assert g.seen == "c"


async def test_the_block_may_begin_in_a_fixture(client: Client) -> None:
    """Entered, used and left in three tasks, as a fixture and its test may be."""
    await asyncio.create_task(client.__aenter__())
    await asyncio.create_task(_asks_and_looks(client))
    await asyncio.create_task(client.__aexit__(None, None, None))
    async with client:
        await client.get("/count?name=z")
        assert g.seen == "z"


async def test_teardown_runs_when_flask_runs_it(client: Client, log: list[str], flask_app: flask.Flask) -> None:
    """At the end of the request, and again when its contexts are given up."""
    expected: list[list[str]] = []
    flask_log: list[str] = []
    flask_app.teardown_request(lambda error: flask_log.append("request"))
    flask_app.teardown_appcontext(lambda error: flask_log.append("app"))
    flask_app.add_url_rule("/count", view_func=lambda: "")
    with flask_app.test_client() as flask_client:
        for _ in range(2):
            flask_client.get("/count")
            expected.append(list(flask_log))
    expected.append(list(flask_log))

    found: list[list[str]] = []
    async with client:
        for _ in range(2):
            await client.get("/count")
            found.append(list(log))
    found.append(list(log))
    assert found == expected


async def test_an_exception_keeps_no_context(app: Quart, client: Client) -> None:
    app.testing = True
    async with client:
        await client.get("/count?name=a")
        with pytest.raises(KeyError):
            await client.get("/fails")
        assert not has_request_context()
        await client.get("/count?name=b")
        assert g.seen == "b"


async def test_a_teardown_that_fails_is_raised_and_leaves_no_context(app: Quart, client: Client) -> None:
    fail = False

    @app.teardown_request
    async def breaks(error: BaseException | None) -> None:
        if fail:
            raise OSError("disk full")

    with pytest.raises((OSError, ExceptionGroup)) as raised:
        async with client:
            await client.get("/count")
            fail = True
    assert "disk full" in repr(raised.value)
    assert not has_request_context()


async def test_the_surrounding_context_is_there_again_after_the_block(app: Quart, client: Client) -> None:
    async with app.app_context():
        g.mine = 1
        async with client:
            await client.get("/count?name=a")
        assert g.mine == 1
        assert not has_request_context()


async def test_a_block_cannot_be_nested_in_itself(client: Client) -> None:
    async with client:
        with pytest.raises(RuntimeError, match="nested"):
            await client.__aenter__()


async def test_without_a_block_nothing_is_kept(client: Client, log: list[str]) -> None:
    await client.get("/count")
    assert not has_request_context()
    assert log == ["request", "app"]


async def test_parallel_requests_in_a_block_do_not_share(client: Client, log: list[str]) -> None:
    """Each has a ``g`` of its own, and each one's contexts are given up at the end."""
    async with client:
        answers = await asyncio.gather(*(client.get(f"/count?name={n}") for n in range(5)))
        assert [answer.status_code for answer in answers] == [200] * 5
        await client.get("/count")
    assert log.count("request") == log.count("app") == 12


async def test_session_transaction_changes_the_next_requests_session(client: Client) -> None:
    async with client.session_transaction() as changed:
        changed["count"] = 41
    assert (await client.get("/count")).json == {"count": 42}
    async with client.session_transaction() as seen:
        assert seen["count"] == 42


async def test_session_transaction_in_a_plain_with(client: Client) -> None:
    async def as_in_flask() -> None:
        with client.session_transaction() as changed:
            changed["count"] = 41
        assert (await client.get("/count")).json == {"count": 42}

    await bridged(as_in_flask())


def test_session_transaction_in_a_plain_with_without_a_loop(client: Client) -> None:
    with client.session_transaction() as changed:
        changed["count"] = 41
    assert wait(client.get("/count")).json == {"count": 42}


async def test_session_transaction_leaves_kept_contexts_alone(client: Client) -> None:
    async with client:
        await client.get("/count?name=a")
        async with client.session_transaction() as changed:
            assert changed["count"] == 1
            assert (request.path, g.seen) == ("/count", "a")
            changed["count"] = 7
        assert (request.path, g.seen, session["count"]) == ("/count", "a", 1)
        assert (await client.get("/count")).json == {"count": 8}


async def test_a_session_transaction_that_fails_stores_nothing(client: Client) -> None:
    with pytest.raises(KeyError):
        async with client.session_transaction() as changed:
            changed["count"] = 41
            raise KeyError
    assert (await client.get("/count")).json == {"count": 1}


async def test_session_transaction_takes_the_arguments_of_a_request(app: Quart, client: Client) -> None:
    """A session of another host is another cookie."""
    async with client.session_transaction(base_url="http://example.com") as changed:
        changed["count"] = 41
    assert (await client.get("/count")).json == {"count": 1}
    assert (await client.get("/count", base_url="http://example.com")).json == {"count": 42}


async def test_session_transaction_without_a_secret_key_says_what_is_missing(app: Quart, client: Client) -> None:
    app.secret_key = None
    with pytest.raises(RuntimeError, match="secret_key"):
        async with client.session_transaction():
            pass


async def test_a_flask_session_cookie_is_the_same_cookie(client: Client, flask_app: flask.Flask) -> None:
    """What Flask's interface signs with the same key, this application reads."""
    with flask_app.test_client() as flask_client, flask_client.session_transaction() as changed:
        changed["count"] = 41
    cookie = flask_client.get_cookie("session")
    assert cookie is not None
    client.set_cookie("session", cookie.value)
    assert (await client.get("/count")).json == {"count": 42}
