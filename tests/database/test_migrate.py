"""``db init|migrate|upgrade|…`` from the command line, and ``upgrade(app)`` from several processes at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import pytest
import quart
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from decant.database import SQLAlchemy
from decant.database.migrate import Migrate, upgrade
from decant.database.migrate.lock import migration_lock
from decant.errors import CommandError

APP = """
import os
import quart
from decant.database import SQLAlchemy

app = quart.Quart(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["TEST_URL"]
db = SQLAlchemy(app)


class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
"""
Run = Callable[..., str]


def make_db(*, age: bool = False) -> SQLAlchemy:
    db = SQLAlchemy()
    columns = {"id": db.Column(db.Integer, primary_key=True), "name": db.Column(db.String(50), unique=True)}
    type("User", (db.Model,), columns | ({"age": db.Column(db.Integer)} if age else {}))
    return db


def make_run(app: Any) -> Run:
    """``quart db …`` or ``flask db …`` in this process; returns what is printed."""
    runner = app.test_cli_runner()

    def run(*arguments: str, status: int = 0) -> str:
        result = runner.invoke(args=["db", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return str(result.output)

    run.app = app  # type: ignore[attr-defined]
    return run


@pytest.fixture
def start(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Makes an application, in its own folder, and the function that runs its commands."""
    monkeypatch.chdir(tmp_path)

    def start(framework: Any = quart.Quart, **model: bool) -> Run:
        app = framework("shop", instance_path=str(tmp_path))
        app.config["SQLALCHEMY_DATABASE_URI"] = url
        make_db(**model).init_app(app)
        return make_run(app)

    return start


@pytest.mark.parametrize("framework", [quart.Quart, flask.Flask])
def test_a_schema_is_made_changed_and_taken_back(start: Callable[..., Run], framework: Any) -> None:
    """init, migrate, upgrade, current, history, heads, downgrade, stamp, check as Flask-Migrate's users know them."""
    run = start(framework)
    assert "begin with `db init`" in run("upgrade", status=1)
    run("init")
    assert {path.name for path in Path("migrations").iterdir()} >= {"alembic.ini", "env.py", "versions"}
    assert "already exists" in run("init", status=1)
    run("migrate", "-m", "users", "--rev-id", "aaa")
    assert "Running upgrade  -> aaa, users" in run("upgrade")
    assert "aaa (head)" in run("current")
    assert "No changes in schema detected" in run("migrate")
    run = start(framework, age=True)
    assert "Error: New upgrade operations detected" in run("check", status=1)
    run("migrate", "-m", "age", "--rev-id", "bbb")
    assert "add_column" in next(Path("migrations", "versions").glob("bbb*")).read_text()
    run("upgrade", "bbb")
    assert "No new upgrade operations" in run("check")
    history = run("history", "-i")
    assert history.index("bbb (head) (current), age") < history.index("aaa, users")
    assert "Running downgrade bbb -> aaa" in run("downgrade")
    run("stamp", "bbb")
    assert "bbb" in run("current")
    assert "bbb (head)" in run("heads")
    assert "CREATE TABLE" in run("upgrade", "--sql", "aaa")
    assert "Can't locate revision" in run("upgrade", "nothing", status=1)


def test_other_metadata_joins_through_env_py(start: Callable[..., Run]) -> None:
    """run_migrations(other.metadata) brings its tables into the same history."""
    run = start()
    run("init")
    env = Path("migrations", "env.py")
    env.write_text(
        "from decant.database.migrate import run_migrations\n"
        "from sqlalchemy import *\n"
        "ledger = MetaData()\n"
        "Table('ledger', ledger, Column('id', Integer, primary_key=True))\n"
        "run_migrations(ledger)\n"
    )
    run("migrate", "--rev-id", "aaa")
    written = next(Path("migrations", "versions").glob("aaa*")).read_text()
    assert "create_table('ledger'" in written
    assert "create_table('user'" in written


def test_migrate_sets_the_directory_the_command_and_alembics_options(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Migrate(app, db, …) as Flask-Migrate's, with its configure callback."""
    monkeypatch.chdir(tmp_path)
    app = quart.Quart("shop", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = make_db()
    db.init_app(app)
    seen = []
    migrate = Migrate(app, db, directory="schema", include_name=lambda name, kind, parents: seen.append(name) or True)

    @migrate.configure
    def configure(config: Any) -> Any:
        config.set_main_option("file_template", "from_callback_%%(rev)s")
        return config

    run = make_run(app)
    run("init")
    run("migrate", "--rev-id", "aaa")
    assert Path("schema", "versions", "from_callback_aaa.py").exists()
    run("upgrade")
    assert "No changes" in run("migrate")
    assert "user" in seen


def test_a_migration_that_fails_is_one_line_and_changes_nothing(start: Callable[..., Run]) -> None:
    """The database's own words, status 1."""
    run = start()
    run("init")
    run("revision", "--rev-id", "aaa")
    file = next(Path("migrations", "versions").glob("aaa*"))
    file.write_text(file.read_text().replace("pass", "op.execute('SELECT * FROM nowhere')", 1))
    output = run("upgrade", status=1)
    assert "Error: the migration failed" in output
    assert "nowhere" in output
    assert "aaa" not in run("current")


def test_upgrade_runs_on_a_loop_without_blocking_it(start: Callable[..., Run]) -> None:
    """An application may call it while it starts; what is wrong is a CommandError."""
    run = start()

    async def before_serving() -> None:
        await upgrade(run.app)  # type: ignore[attr-defined]

    with pytest.raises(CommandError, match="there are no migrations in"):
        asyncio.run(before_serving())
    run("init")
    run("migrate", "--rev-id", "aaa")
    asyncio.run(before_serving())
    assert "aaa (head)" in run("current")


def test_processes_that_start_at_once_migrate_once(start: Callable[..., Run], url: str, tmp_path: Path) -> None:
    """Three processes upgrade at the same moment: one runs the migration, all succeed."""
    run = start()
    run("init")
    run("migrate", "--rev-id", "aaa")
    slow = next(Path("migrations", "versions").glob("aaa*"))
    slow.write_text(slow.read_text().replace("def upgrade():", "def upgrade():\n    import time; time.sleep(0.5)"))
    (tmp_path / "shop.py").write_text(APP)
    environment = {**os.environ, "TEST_URL": url, "PYTHONDONTWRITEBYTECODE": "1"}
    code = (
        "import asyncio, logging, shop; logging.basicConfig(level='INFO');"
        "from decant.database.migrate import upgrade; asyncio.run(upgrade(shop.app))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=110)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, outputs
    assert sum("Running upgrade  -> aaa" in output for output in outputs) == 1, outputs


async def test_the_lock_is_a_transactions(database_url: str) -> None:
    """So that PgBouncer keeps it: nobody else gets it, an index can be made concurrently, and it is given back."""
    engine = create_async_engine(make_url(database_url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    held = text(
        "SELECT state FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
    )
    async with migration_lock(engine), alone.connect() as other:
        assert (await other.scalars(held)).all() == ["idle in transaction"]
        await other.execute(text("CREATE TABLE thing (id int)"))
        async with asyncio.timeout(20):
            await other.execute(text("CREATE INDEX CONCURRENTLY ix_thing ON thing (id)"))
        with pytest.raises(CommandError, match="another process has been migrating"):
            async with migration_lock(engine, timeout_s=0):
                pass
    async with alone.connect() as other, migration_lock(engine, timeout_s=0):
        assert len((await other.scalars(held)).all()) == 1
    async with alone.connect() as other:
        assert (await other.scalars(held)).all() == []
