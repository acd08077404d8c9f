"""``/healthz`` and ``/readyz``, as routes and before an application that is not to be changed."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask_migrate import Migrate as FlaskMigrate
from flask_sqlalchemy import SQLAlchemy as FlaskSQLAlchemy

from decant import Quart
from decant.bridge import bridged
from decant.database import SQLAlchemy
from decant.database.migrate import Migrate, init, stamp, upgrade
from decant.faces import face
from decant.flask import asgi
from decant.flask.modules.migrate import Migrate as MigrateFace
from decant.ops.health import Health, health
from decant.ops.registry import readiness

PATIENT_S = 30.0
"""For checks that are to succeed: on a busy machine one may take longer than the usual two seconds."""
REVISION = """
revision, down_revision, branch_labels, depends_on = "{}", {}, None, None

def upgrade():
    pass
"""


async def made() -> Quart:
    """An application, made where it may look at files."""
    return await asyncio.to_thread(Quart, __name__)


async def asked(app: Any, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """The answer of an ASGI application."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "headers": []}
    scope |= {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    scope |= {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


async def ready(app: Any) -> tuple[int, dict[str, str]]:
    """The status, and the state of each check."""
    response = await app.test_client().get("/readyz")
    return response.status_code, (await response.get_json())["checks"]


async def test_a_quart_application_says_that_it_lives_and_is_ready() -> None:
    app = await made()
    health(app)
    client = app.test_client()
    alive, is_ready = await client.get("/healthz"), await client.get("/readyz")
    assert (alive.status_code, await alive.get_data(as_text=True)) == (200, "ok\n")
    assert (is_ready.status_code, await is_ready.get_json()) == (200, {"ready": True, "checks": {}})
    assert {alive.headers["Cache-Control"], is_ready.headers["Cache-Control"]} == {"no-store"}


async def test_what_hangs_or_fails_is_told_by_name_and_logged_once_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each check has its deadline; one that is not critical is ``degraded``, and the process stays ready."""
    app = await made()
    health(app, timeout_s=0.2)
    away = asyncio.Event()

    async def hanging() -> None:
        await away.wait()

    readiness("mail", hanging, critical=False, app=app)
    caplog.set_level(logging.INFO, "decant.health")
    began = time.monotonic()
    assert await ready(app) == (200, {"mail": "degraded"})
    assert time.monotonic() - began < 20
    readiness("stock", hanging, app=app)
    response = await app.test_client().get("/readyz")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    away.set()
    assert await ready(app) == (200, {"mail": "ok", "stock": "ok"})
    assert [record.getMessage() for record in caplog.records] == [
        "mail is degraded: no answer within 0.2 s",
        "stock is failed: no answer within 0.2 s",
        "mail is ok again",
        "stock is ok again",
    ]


async def test_a_database_without_this_versions_migrations_is_not_ready(database_url: str, tmp_path: Path) -> None:
    """And one that a newer version has migrated is."""

    async def version() -> Quart:
        app = await made()
        app.config["SQLALCHEMY_DATABASE_URI"] = database_url
        SQLAlchemy(app)
        Migrate(app, directory=tmp_path / "migrations")
        return app

    app = await version()
    await init(app)
    versions = tmp_path / "migrations" / "versions"
    await asyncio.to_thread((versions / "one.py").write_text, REVISION.format("one", None))
    await asyncio.to_thread(lambda: health(app, timeout_s=PATIENT_S))
    async with app.test_app():
        assert await ready(app) == (503, {"database": "ok", "migrations": "failed"})
        await upgrade(app)
        assert await ready(app) == (200, {"database": "ok", "migrations": "ok"})
    await asyncio.to_thread((versions / "two.py").write_text, REVISION.format("two", "'one'"))
    await upgrade(app)
    await asyncio.to_thread((versions / "two.py").unlink)
    older = await version()
    await asyncio.to_thread(lambda: health(older, timeout_s=PATIENT_S))
    async with older.test_app():
        assert await ready(older) == (200, {"database": "ok", "migrations": "ok"})


async def test_migrations_need_not_be_asked(database_url: str, tmp_path: Path) -> None:
    app = await made()
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    SQLAlchemy(app)
    Migrate(app, directory=tmp_path / "migrations")
    await init(app)
    await asyncio.to_thread(lambda: health(app, migrations=False, timeout_s=PATIENT_S))
    async with app.test_app():
        assert await ready(app) == (200, {"database": "ok"})


async def outside(app: flask.Flask, **options: Any) -> Health:
    """The application in the shim, behind the two; made as a server makes it, before its loop runs."""
    return await asyncio.to_thread(lambda: Health(asgi(app, **options), app=app, timeout_s=PATIENT_S))


def legacy(url: str, directory: str = "nowhere") -> flask.Flask:
    """As teams have it: Flask-SQLAlchemy, Flask-Migrate, a log-in wall, one slow view, which is let go by a test."""
    app = flask.Flask(__name__)
    app.extensions["slow"] = entered, leave = threading.Event(), threading.Event()
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {}})
    db = FlaskSQLAlchemy(app)
    FlaskMigrate(app, db, directory=directory)

    @app.before_request
    def wall() -> Any:
        return None if flask.request.path == "/slow" else ("log in", 401)

    @app.get("/slow")
    def slow() -> str:
        entered.set()
        assert leave.wait(60)
        return "done"

    return app


def faced(url: str, directory: str) -> flask.Flask:
    """As ``decant.flask.install()`` makes it."""
    app = flask.Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    MigrateFace(app, face(SQLAlchemy)(app), directory=directory)
    return app


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[flask.Flask]:
    app = legacy(f"sqlite:///{tmp_path / 'data'}")
    yield app
    dispose(app)


async def test_an_unchanged_flask_application_is_asked_from_outside(on_sqlite: flask.Flask) -> None:
    """While its only thread is busy, too, and whatever it demands of those who ask."""
    served = await outside(on_sqlite, threads=1)
    entered, leave = on_sqlite.extensions["slow"]
    slow = asyncio.create_task(asked(served, "/slow"))
    assert await asyncio.to_thread(entered.wait, 60)
    assert (await asked(served, "/healthz"))[::2] == (200, b"ok\n")
    status, headers, body = await asked(served, "/readyz")
    assert (status, body) == (200, b'{"ready": true, "checks": {"database": "ok"}}\n')
    assert headers["content-length"] == str(len(body))
    assert not slow.done()
    leave.set()
    assert (await asked(served, "/readyz", "HEAD"))[::2] == (200, b"")
    assert (await asked(served, "/healthz", "POST"))[0] == 401
    assert (await slow)[::2] == (200, b"done")


def test_a_flask_application_has_the_routes_as_well(tmp_path: Path) -> None:
    """Under Gunicorn, say, with no event loop anywhere."""
    app = flask.Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'data'}"
    FlaskSQLAlchemy(app)
    health(app, live="/up", ready="/ready", timeout_s=PATIENT_S)
    client = app.test_client()
    assert client.get("/up").data == b"ok\n"
    assert client.get("/ready").get_json() == {"ready": True, "checks": {"database": "ok"}}
    dispose(app)


async def test_a_flask_applications_database_that_is_away_makes_it_unready() -> None:
    app = await asyncio.to_thread(legacy, "postgresql+psycopg://a:b@127.0.0.1:1/c")
    status, headers, body = await asked(await outside(app), "/readyz")
    assert (status, headers["retry-after"]) == (503, "5")
    assert body == b'{"ready": false, "checks": {"database": "failed"}}\n'


@pytest.mark.parametrize("extensions", ["originals", "faces"])
async def test_flask_migrates_revisions_are_asked_for(database_url: str, tmp_path: Path, extensions: str) -> None:
    """Those of the folder that Flask-Migrate was told of."""
    other = await made()
    other.config["SQLALCHEMY_DATABASE_URI"] = database_url
    SQLAlchemy(other)
    Migrate(other, directory=tmp_path / "migrations")
    await init(other)
    one = tmp_path / "migrations" / "versions" / "one.py"
    await asyncio.to_thread(one.write_text, REVISION.format("one", None))
    make, driver = (faced, "psycopg_async") if extensions == "faces" else (legacy, "psycopg")
    url = database_url.replace("postgresql://", f"postgresql+{driver}://")
    app = await asyncio.to_thread(make, url, str(tmp_path / "migrations"))
    served = await outside(app)
    assert (await asked(served, "/readyz"))[::2] == (
        503,
        b'{"ready": false, "checks": {"database": "ok", "migrations": "failed"}}\n',
    )
    async with other.app_context():
        await stamp(other, "one")
    assert (await asked(served, "/readyz"))[0] == 200
    await (bridged(disposed(app)) if extensions == "faces" else asyncio.to_thread(dispose, app))


async def disposed(app: flask.Flask) -> None:
    dispose(app)


def dispose(app: flask.Flask) -> None:
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()


async def test_redis_that_is_away_is_degraded_and_not_down(redis_url: str) -> None:
    for url, state in ((redis_url, "ok"), ("redis://127.0.0.1:1/0", "degraded")):
        app = await made()
        app.config.update(REDIS_URL=url, REDIS_DEADLINE_S=30.0)
        health(app, timeout_s=PATIENT_S)
        async with app.test_app():
            assert await ready(app) == (200, {"redis": state})


async def test_the_snippet_of_the_docs() -> None:
    path = Path(__file__).parents[2] / "docs" / "snippets" / "health_app.py"
    scope: dict[str, Any] = {"__name__": __name__}
    code = compile(await asyncio.to_thread(path.read_text), str(path), "exec")
    await asyncio.to_thread(exec, code, scope)
    assert await ready(scope["app"]) == (200, {"mail": "ok"})
