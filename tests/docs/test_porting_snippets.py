"""The files of docs/porting.md do what the page says: as ordinary Flask, under the shim, with faces, and ported."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from decant.flask import asgi
from decant.testing import Client  # noqa: F401  it reads files when it is imported

FOLDER = Path(__file__).parents[2] / "docs" / "snippets" / "porting"
Load = Callable[[str], Any]
PRICES = {"a": 1, "bb": 2, "ccc": 3, "dddd": 4, "eeeee": 5}
DIGITS = [158, 375, 615, 869, 1135]


@pytest.fixture
def load(no_blocking: BlockBuster, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Load:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.syspath_prepend(str(FOLDER))

    def loaded(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # processes find its functions by its name
        no_blocking.deactivate()
        try:
            spec.loader.exec_module(module)
        finally:
            no_blocking.activate()
        return module

    return loaded


@pytest.fixture(params=["wsgi", "asgi"])
def flask_client(request: pytest.FixtureRequest, load: Load) -> Callable[[Any], Any]:
    """An application's test client: Flask's own, and through the shim."""

    def client(app: Any) -> Any:
        return app.test_client() if request.param == "wsgi" else asgi(app).test_client()

    return client


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread of the example does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def text(response: Any) -> str:
    return await response.get_data(as_text=True)


def test_threads_and_processes_in_flask(load: Load, flask_client: Callable[[Any], Any]) -> None:
    """The strategies that tutorials teach work under the shim as they stand."""
    pool, background = load("pool_flask"), load("background_flask")
    response = flask_client(pool.app).post("/users/ada")
    assert (response.status_code, response.text) == (202, "submitted")
    assert flask_client(load("threads_flask").app).get("/prices").json == PRICES
    assert flask_client(background.app).get("/start/x").text == "<p>started x"
    until(lambda: pool.sent == ["ada"] and background.done == ["x"])
    assert flask_client(load("async_flask").app).get("/").text == "slow"


def test_the_extensions_in_flask(load: Load, flask_client: Callable[[Any], Any]) -> None:
    """Flask-Caching, Flask-Limiter and Flask-CORS themselves."""
    cache = load("cache_flask")
    client = flask_client(cache.app)
    assert client.post("/forget").status_code == 204
    assert [client.get("/top").text for _ in range(2)] == ["the ten most popular"] * 2
    assert cache.asked == ["database"]
    client = flask_client(load("limits_flask").app)
    assert [client.post("/login").status_code for _ in range(3)] == [200, 200, 429]
    client = flask_client(load("cors_flask").app)
    response = client.get("/api/orders", headers={"Origin": "https://shop.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"


@pytest.mark.parametrize("served", ["app", "asgi(app)", "asgi(app, views='loop')"])
def test_processes_in_flask(served: str) -> None:
    """In a program of its own: multiprocessing imports its main module, and forks what it finds."""
    code = f"print({served}.test_client().get('/digits').text)"
    code = f"from decant.flask import asgi\nfrom processes_flask import app\nif __name__ == '__main__': {code}"
    assert json.loads(_python("-c", code)) == DIGITS


async def test_a_mounted_application(load: Load) -> None:
    load("pool_flask")
    app = load("mount_first").app
    async with app.test_app():
        client = app.test_client()
        assert await (await client.get("/users/ada")).get_json() == {"name": "ada"}
        assert await text(await client.post("/users/ada")) == "submitted"


async def test_models_of_the_flask_half_in_the_quart_half(
    load: Load, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a session of the Quart half; what one half writes the other reads."""
    monkeypatch.setenv("DATABASE_URL", database_url.replace("postgresql", "postgresql+psycopg", 1))
    blog, module = load("blog_flask"), load("mount_models")
    await asyncio.to_thread(_make_blog, blog, module.flask_app)
    async with module.app.test_app():
        client = module.app.test_client()
        assert (await client.post("/blog/ada", data={"title": "Notes"})).status_code == 302
        assert await (await client.get("/blog/ada")).get_json() == {"user": "ada", "posts": ["Notes"]}
        assert (await client.get("/blog/nobody")).status_code == 404
    await asyncio.to_thread(_close, blog, module.flask_app)


def _make_blog(blog: Any, app: Any) -> None:
    with app.app_context():
        blog.db.create_all()
        blog.db.session.add(blog.User(username="ada"))
        blog.db.session.commit()


def _close(blog: Any, app: Any) -> None:
    with app.app_context():
        blog.db.engine.dispose()


def test_flasks_commands_with_the_faces(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Flask-Limiter is installed, of which `flask` asks for a command before the application is imported."""
    monkeypatch.setenv("DATABASE_URL", database_url.replace("postgresql", "postgresql+psycopg2", 1))
    lines = "db.create_all(); db.session.add(User(username='ada')); db.session.commit(); print(db, User.query.count())"
    said = _python("faced.py", "--app", "blog_flask", "shell", said=lines)
    assert "<face of <SQLAlchemy postgresql" in said
    assert "> 1" in said


def test_a_view_that_blocks_runs_in_a_thread(load: Load) -> None:
    assert asgi(load("loop_blocking").app, views="loop").test_client().get("/report").text == "a report\n"


def test_the_messages_that_are_explained_are_said() -> None:
    """The first column of the table of errors quotes what Decant really says."""
    page = (FOLDER.parents[1] / "porting.md").read_text()
    rows = re.findall(r"^\| `([^`]+)`", page[page.index("## When something is wrong") :], re.MULTILINE)
    source = "".join(path.read_text() for path in (FOLDER.parents[2] / "src" / "decant").rglob("*.py"))
    said = re.sub(r'"\s*f?"', "", source)  # texts that go on in the next line
    assert [row for row in rows if row not in said and not row.startswith("asyncpg.")] == []
    assert len(rows) > 5


async def test_what_became_of_threads_and_processes(load: Load) -> None:
    pool, background, processes = load("pool_quart"), load("background_quart"), load("processes_quart")
    async with pool.app.test_app():
        response = await pool.app.test_client().post("/users/ada")
        assert (response.status_code, await text(response)) == (202, "submitted")
    assert pool.sent == ["ada"]
    assert await (await load("threads_quart").app.test_client().get("/prices")).get_json() == PRICES
    async with background.app.test_app():
        assert await text(await background.app.test_client().get("/start/x")) == "<p>started x"
    assert background.done == [("background_quart", "x")]
    async with processes.app.test_app():
        assert await (await processes.app.test_client().get("/digits")).get_json() == DIGITS
    assert await text(await load("async_quart").app.test_client().get("/")) == "slow"


async def test_what_became_of_the_extensions(load: Load) -> None:
    cache = load("cache_quart")
    async with cache.app.test_app():
        client = cache.app.test_client()
        assert (await client.post("/forget")).status_code == 204
        answers = await asyncio.gather(*[client.get("/top") for _ in range(20)])
        assert {await text(answer) for answer in answers} == {"the ten most popular"}
    assert cache.asked == ["database"]
    limits = load("limits_quart")
    async with limits.app.test_app():
        client = limits.app.test_client()
        assert [(await client.post("/login")).status_code for _ in range(3)] == [200, 200, 429]
        assert (await client.get("/report")).status_code == 200
    client = load("cors_quart").app.test_client()
    response = await client.get("/api/orders", headers={"Origin": "https://shop.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"


async def test_what_became_of_the_sockets(load: Load) -> None:
    module = load("realtime_quart")
    client = await module.socketio.test_client(module.app)
    assert await client.emit("my event", {"data": "a"}, callback=True) == "seen"
    assert client.get_received() == [{"name": "my response", "args": [{"data": "A"}], "namespace": "/"}]


async def test_what_became_of_the_tasks(load: Load, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    module = load("tasks_quart")
    await asyncio.to_thread(_make_ledger, database_url)
    async with module.app.test_app():
        client = module.app.test_client()
        started = await (await client.post("/add", json={"x": 2, "y": 3})).get_json()
        assert started["status"] == "accepted"
        await asyncio.to_thread(_python, "-m", "decant.cli", "worker", "tasks_quart:app", "--burst")
        assert await (await client.get(f"/add/{started['id']}")).get_json() == {"state": "SUCCESS", "result": 5}


def _make_ledger(database_url: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    from decant.tasks.ledger.tables import metadata

    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine)
    engine.dispose()


def test_with_faces_nothing_changes(load: Load, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files, unedited, on the loop; and the worker runs what Celery's decorators have registered."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    answers = json.loads(_python(str(Path(__file__).parent / "porting_faced.py")).splitlines()[-1])
    started = answers.pop("tasks")
    assert answers == {
        "pool": "submitted",
        "threads": PRICES,
        "background": "<p>started x",
        "async": "slow",
        "cache": ["the ten most popular", "the ten most popular", ["database"]],
        "limits": [200, 200, 429],
        "cors": "https://shop.example",
        "realtime": ["seen", [{"data": "A"}]],
        "blog": "ada: Notes",
        "loop_serve": "submitted",
    }
    assert started["status"] == "accepted"
    _python("-m", "decant.cli", "worker", "--faces", "tasks_flask:celery", "--burst")
    result = "from decant.flask import install; install(); from tasks_flask import celery; import sys"
    assert _python("-c", f"{result}; print(celery.AsyncResult(sys.argv[1]).get(timeout=30))", started["id"]) == "5\n"


@pytest.mark.parametrize(
    ("kind", "driver", "faces"),
    [
        ("flask", "postgresql+psycopg", []),
        ("flask", "postgresql+psycopg2", ["-p", "faces_in_tests"]),
        ("quart", "postgresql", []),
    ],
)
def test_a_test_before_and_after(
    kind: str, driver: str, faces: list[str], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url.replace("postgresql", driver, 1))
    options = ["-q", "-c", os.devnull, "-p", "no:cacheprovider", "-p", "no:valkey", "-o", "asyncio_mode=auto", *faces]
    assert "1 passed" in _python(
        "-m", "pytest", *options, "--rootdir", str(FOLDER), str(FOLDER / f"blog_{kind}_test.py")
    )


def _python(*arguments: str, said: str | None = None) -> str:
    paths = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        input=said,
        text=True,
        timeout=100,
        cwd=FOLDER,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
