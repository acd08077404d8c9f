"""A plain ``scoped_session(sessionmaker())``, as Flask's documentation teaches it: one session per request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

import flask
import pytest
from socketio import AsyncClient
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

from decant import Quart
from decant.bridge import bridged, in_thread
from decant.faces import face
from decant.flask import asgi, blocking, mount
from decant.flask.registry import make_bridge_local, make_thread_local
from decant.socketio import SocketIO
from tests.flask.loop_asking import ask, ask_all, async_drivers
from tests.serving import serve


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with async_drivers():
        engine = create_engine(database_url, pool_size=60)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def thread_local() -> Iterator[None]:
    """At the beginning, whatever other tests have served on the loop."""
    make_thread_local()
    yield
    make_thread_local()


@pytest.fixture
def bridge_local() -> None:
    assert make_bridge_local()


Made = tuple[flask.Flask, "scoped_session[Any]"]


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    def make(removes: bool = True, **options: Any) -> Made:
        app, db_session = flask.Flask("plain"), scoped_session(sessionmaker(engine), **options)
        running: set[int] = set()

        def view() -> dict[str, Any]:
            session = db_session()
            shared = id(session) in running
            running.add(id(session))
            db_session.execute(text("SELECT pg_sleep(0.1)"))
            running.discard(id(session))
            return {"shared": shared, "same": session is db_session()}

        app.add_url_rule("/view", view_func=view)
        app.add_url_rule("/thread", "thread", blocking(lambda: view()))
        if removes:

            @app.teardown_appcontext
            def remove(error: BaseException | None) -> None:
                db_session.remove()

        return app, db_session

    return make


def found(answers: list[tuple[int, str]]) -> list[dict[str, Any]]:
    return [flask.json.loads(body) for status, body in answers if status == 200]


async def test_fifty_requests_at_once_have_fifty_sessions(
    bridge_local: None, make: Callable[..., Made], engine: Any
) -> None:
    app, _ = await asyncio.to_thread(make)
    async with serve(asgi(app, views="loop")) as url:
        answers = found(await ask_all(url, ["/view"] * 40 + ["/thread"] * 10))
        assert answers == [{"shared": False, "same": True}] * 50
        assert engine.pool.checkedout() == 0


async def test_an_application_that_is_mounted_on_the_loop_has_them_too(make: Callable[..., Made]) -> None:
    """Whose start-up code need not know of it."""
    app, _ = await asyncio.to_thread(make)
    front = await asyncio.to_thread(Quart, "front")
    mount(front, app, views="loop")
    async with serve(front) as url:
        answers = found(await ask_all(url, ["/view"] * 5))
    assert answers == [{"shared": False, "same": True}] * 5


async def test_without_it_requests_on_the_loop_would_share_one(make: Callable[..., Made]) -> None:
    app, _ = await asyncio.to_thread(make)
    served = asgi(app, views="loop")
    make_thread_local()
    async with serve(served) as url:
        answers = await ask_all(url, ["/view"] * 5)
    assert [body for status, body in answers if status == 500 or '"shared":true' in body]


@pytest.mark.parametrize("path", ["/view", "/thread"])
async def test_a_session_that_a_request_forgot_is_closed(
    bridge_local: None, make: Callable[..., Made], engine: Any, path: Literal["/view", "/thread"]
) -> None:
    app, _ = await asyncio.to_thread(make, removes=False)
    async with serve(asgi(app, views="loop")) as url:
        assert (await ask(url, path))[0] == 200
        async with asyncio.timeout(30):
            while engine.pool.checkedout():
                await asyncio.sleep(0.01)
        assert engine.pool.checkedin() == 1, "given back, not thrown away"


async def test_a_session_that_a_handler_of_socketio_forgot_is_closed(
    bridge_local: None, make: Callable[..., Made], engine: Any
) -> None:
    app, db_session = await asyncio.to_thread(make, removes=False)
    app.secret_key = "for tests"
    socketio = face(SocketIO)(app)
    socketio.on("ask")(lambda: db_session.scalar(text("SELECT 7")))
    async with serve(asgi(app, views="loop", grace_s=1)) as url:
        client = AsyncClient()
        await client.connect(url, transports=["websocket"], wait_timeout=10)
        assert await client.call("ask", timeout=10) == 7
        async with asyncio.timeout(30):
            while engine.pool.checkedout():
                await asyncio.sleep(0.01)
        await client.disconnect()


def test_a_scopefunc_that_is_given_stays(bridge_local: None, make: Callable[..., Made]) -> None:
    app, db_session = make(scopefunc=lambda: flask.g._get_current_object())
    with app.app_context():
        first = db_session()
    with app.app_context():
        assert db_session() is not first


async def test_each_flow_has_its_own(bridge_local: None) -> None:
    """A task, its child tasks and a thread of one's own; what works for a task in a thread is of that task."""
    registry = scoped_session(sessionmaker())

    async def own() -> Any:
        return registry()

    mine = registry()
    assert registry() is mine
    assert await bridged(own()) is mine
    assert await in_thread(registry) is mine
    assert await asyncio.create_task(own()) is not mine
    others: list[Any] = []
    thread = threading.Thread(target=lambda: others.extend([registry(), registry()]))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert others[0] is others[1] is not mine
    assert registry.registry.has()
    registry.remove()
    assert not registry.registry.has()
    registry.registry.set(mine)
    assert registry() is mine


def test_sessions_that_exist_are_changed_and_changed_back() -> None:
    registry = scoped_session(sessionmaker())
    before = registry()
    make_bridge_local()
    make_bridge_local()
    try:
        assert registry() is not before
    finally:
        make_thread_local()
    assert registry() is before
