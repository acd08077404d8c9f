"""Code written for Celery runs unchanged: as Flask's documentation has it, with a real worker process and Redis."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from decant.bridge import bridged, in_thread
from decant.errors import ConfigError, DatabaseUnavailable
from decant.flask.modules.celery import app as celery_app
from decant.flask.modules.celery.conf import CeleryConf
from decant.flask.modules.celery.place import Place, found
from tests.cli.toys import Running
from tests.flask.programs import ROOT, run_program

# What Flask's documentation has, and what Celery's has beside it.
SHOP = """
import os
from celery import Celery, Task, chain, chord, current_task, group, shared_task, signals
from celery.result import AsyncResult
from celery.schedules import crontab
from celery.utils.log import get_task_logger
from flask import Flask, current_app, g, request

logger = get_task_logger(__name__)


def celery_init_app(app: Flask) -> Celery:
    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            logger.error("%s failed: %s %s", self.name, exc, self.request.id == task_id)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


@shared_task(ignore_result=False)
def add_together(a: int, b: int) -> int:
    return a + b


@shared_task(bind=True, ignore_result=False)
def process(self, total: int) -> object:
    for i in range(total):
        self.update_state(state="PROGRESS", meta={"current": i + 1, "total": total})
    assert current_task.request.id == self.request.id
    return {"current": total, "app": current_app.name, "id": self.request.id}


@shared_task(bind=True, max_retries=3, default_retry_delay=0)
def flaky(self):
    try:
        if self.request.retries < 2:
            raise OSError("away")
    except OSError as error:
        raise self.retry(exc=error)
    return self.request.retries


@shared_task
def broken():
    raise ValueError("no")


@shared_task
def parent(n):
    return [add_together.delay(i, 1).id for i in range(n)]


@shared_task
def total(numbers):
    return sum(numbers)


@shared_task
def tick(word):
    print(f"tick {word}", flush=True)


@signals.task_postrun.connect
def ran(sender=None, state=None, **kwargs):
    print(f"ran {sender.name} {state}", flush=True)


def create_app() -> Flask:
    app = Flask("shop")
    app.config.from_mapping(
        CELERY=dict(
            broker_url=os.environ["BROKER"],
            result_backend=os.environ["BROKER"],
            task_ignore_result=True,
            task_serializer="json",
            beat_schedule={
                "tick": {"task": f"{__name__}.tick", "schedule": 1.0, "args": ("tock",)},
                "nightly": {"task": f"{__name__}.tick", "schedule": crontab(hour=3, minute=0), "args": ("night",)},
            },
        ),
        SQLALCHEMY_DATABASE_URI=os.environ.get("APP_DATABASE", "sqlite://"),
    )
    app.config.from_prefixed_env()
    celery_init_app(app)

    @app.post("/add")
    def start_add() -> dict[str, object]:
        result = add_together.delay(request.form.get("a", type=int), request.form.get("b", type=int))
        return {"result_id": result.id}

    @app.get("/result/<id>")
    def task_result(id: str) -> dict[str, object]:
        result = AsyncResult(id)
        return {"ready": result.ready(), "successful": result.successful() if result.ready() else None,
                "value": result.result if result.ready() else None}

    return app
"""

MAKE_CELERY = """
from shop import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
"""

ASK = """
from decant.flask import install

install()
import sys, time
sys.path.insert(0, ".")
from celery import chain, chord, group, signature
from celery.exceptions import TimeoutError
from make_celery import celery_app, flask_app
from shop import add_together, broken, flaky, parent, process, total

client = flask_app.test_client()
id = client.post("/add", data={"a": 1, "b": 2}).json["result_id"]
while not (answer := client.get(f"/result/{id}").json)["ready"]:
    time.sleep(0.05)
print(answer)
with flask_app.app_context():
    done = process.delay(3)
    value = done.get(timeout=60)
    print(value["app"], value["current"], value["id"] == done.id)
print(flaky.apply_async(ignore_result=False).get(timeout=60))
try:
    broken.apply_async(ignore_result=False).get(timeout=60)
except ValueError as error:
    print(repr(error))
print(chain(add_together.s(1, 2), add_together.s(3), add_together.s(4))().get(timeout=60))
print(group(add_together.s(i, i) for i in range(4))().get(timeout=60))
print((add_together.s(1, 1) | add_together.s(5)).apply_async(countdown=0).get(timeout=60))
print([celery_app.AsyncResult(one).get(timeout=60) for one in parent.apply_async((2,), ignore_result=False).get(60)])
print(signature("shop.add_together", args=(2, 2)).delay().get(timeout=60))
print(celery_app.send_task("shop.add_together", (4, 4)).get(timeout=60))
if "durable" in sys.argv:
    print(chord([add_together.s(i, i) for i in range(3)])(total.s().set(ignore_result=False)).get(timeout=60))
print(sorted(next(iter(celery_app.control.inspect(timeout=30).ping().values())).items()))
"""

ANSWERS = [
    "{'ready': True, 'successful': True, 'value': 3}",
    "shop 3 True",
    "2",
    "ValueError('no')",
    "10",
    "[0, 2, 4, 6]",
    "7",
    "[1, 2]",
    "4",
    "8",
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "make_celery.py").write_text(MAKE_CELERY)
    return tmp_path


@pytest.fixture
def start(shop: Path) -> Iterator[Any]:
    started: list[Running] = []

    def run(*arguments: str, **environment: str) -> Running:
        started.append(Running(["worker", "--faces", *arguments], shop, {"PYTHONPATH": str(ROOT), **environment}))
        return started[-1]

    yield run
    for running in started:
        running.process.kill()
        running.process.wait()
        running.reader.join(10)
        if running.process.stdout is not None:
            running.process.stdout.close()


def test_flask_s_own_example_runs_with_redis_alone(shop: Path, start: Any, redis_url: str) -> None:
    """The view, progress, retries, hooks, signals, the canvas, the schedule; all in FlaskTask's context, in threads."""
    worker = start("make_celery", BROKER=redis_url)
    worker.expect(r"worker \S+ is ready: ")
    out = run_program(ASK, cwd=shop, BROKER=redis_url)
    assert out.splitlines()[: len(ANSWERS)] == ANSWERS
    worker.expect("^tick tock$")
    worker.expect("^ran shop.add_together SUCCESS$")
    worker.expect("shop.broken failed: no True")
    worker.expect("the jobs of 'shop' are in Redis alone, and lost with it: no PostgreSQL is known")
    worker.expect("settings of Celery that have no effect: task_serializer")
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0
    assert "Traceback" not in worker.output.replace("Traceback (most recent call last)", "", 1)  # that of `broken`


def test_with_a_ledger_its_tables_are_made_and_chords_are_counted(
    shop: Path, start: Any, redis_url: str, database_url: str
) -> None:
    """``TASKS_DATABASE_URL`` is enough; the target is a factory of the Flask application."""
    environment = {"BROKER": redis_url, "TASKS_DATABASE_URL": database_url}
    worker = start("shop:create_app()", **environment)
    worker.expect(r"worker \S+ is ready: ")
    worker.expect("the tables of the tasks' ledger were made in postgresql")
    out = run_program(ASK, "durable", cwd=shop, **environment).splitlines()
    assert out[: len(ANSWERS)] == ANSWERS
    assert out[len(ANSWERS)] == "6"
    assert "in Redis alone" not in worker.output


async def test_the_rule_where_jobs_are(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's own database counts once the ledger's tables are there; nothing is made in it unasked."""

    async def place(config: dict[str, Any], **said: Any) -> tuple[str, str | None]:
        conf = CeleryConf()
        await asyncio.to_thread(conf.update, config, **said)
        where = await found(conf, config)
        assert (where.database_url is None) == bool(where.why)
        return where.redis_url, where.database_url and str(make_url(where.database_url))

    database_url = str(make_url(database_url))
    own = {"SQLALCHEMY_DATABASE_URI": database_url, "CELERY_TIMEZONE": "Europe/Berlin", "SECRET_KEY": "x"}
    assert await place(own, broker_url=redis_url) == (redis_url, None)
    assert await place({}, broker_url=redis_url, result_backend=f"db+{database_url}") == (redis_url, database_url)
    assert await place(own, broker_url=redis_url) == (redis_url, database_url)
    assert await place({"SQLALCHEMY_DATABASE_URI": "sqlite://"}, broker_url=redis_url) == (redis_url, None)
    assert await place({"CELERY_BROKER_URL": redis_url, "TASKS_DATABASE_URL": database_url}) == (
        redis_url,
        database_url,
    )
    assert await place({"REDIS_URL": "redis://elsewhere"}, broker_url="memory://") == ("redis://elsewhere", None)
    with pytest.raises(ConfigError, match="set TASKS_REDIS_URL in the environment") as error:
        await place({}, broker_url="amqp://guest:secret@localhost//")
    assert "secret" not in str(error.value)
    with pytest.raises(ConfigError, match="the ledger of tasks needs PostgreSQL"):
        await place({"TASKS_DATABASE_URL": "sqlite://"}, broker_url=redis_url)
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        await place({"TASKS_DATABASE_URL": "postgresql://u:secret@/x?host=/nowhere"}, broker_url=redis_url)
    monkeypatch.setenv("TASKS_REDIS_URL", redis_url)
    monkeypatch.setenv("TASKS_DATABASE_URL", database_url)
    assert await place({}, broker_url="amqp://guest@localhost//") == (redis_url, database_url)


def test_other_forms_of_celery_s_api(redis_url: str) -> None:
    """The decorator of an application, eager tasks, ``celery.Task`` replaced, a base of one's own, old settings."""
    out = run_program(
        """
        from decant.flask import install
        install()
        import sys
        import celery
        from celery import Celery, Task
        from celery.app.task import Task as SameTask
        from celery.contrib.testing.worker import start_worker
        from celery.result import AsyncResult, EagerResult
        from flask import Flask, current_app, has_app_context

        app = Flask("forms")
        app.config.update(CELERY_BROKER_URL=sys.argv[1], CELERY_RESULT_BACKEND=sys.argv[1], SECRET_KEY="x")

        def make_celery(app):  # as older documentation of Flask has it
            tasks = Celery(app.import_name, backend=app.config["CELERY_RESULT_BACKEND"],
                           broker=app.config["CELERY_BROKER_URL"])
            tasks.conf.update(app.config)
            global early
            @tasks.task(name="forms.early", bind=True)
            def early(self): return current_app.name, self.request.retries
            class ContextTask(tasks.Task):
                def __call__(self, *args, **kwargs):
                    with app.app_context():
                        return super().__call__(*args, **kwargs)
            tasks.Task = ContextTask
            return tasks

        tasks = make_celery(app)

        class Database(Task):
            _db = None
            @property
            def db(self):
                if self._db is None:
                    self._db = object()
                return self._db
            def after_return(self, status, retval, task_id, args, kwargs, einfo):
                ended.append((status, retval, self.request.id == task_id))  # printed at the end: this is another thread

        ended = []

        @tasks.task()
        def where(): return current_app.name

        @tasks.task(bind=True)
        def me(self): return self.request.id

        @tasks.task(base=Database, bind=True, name="forms.db")
        def uses(self, x):
            assert not has_app_context()
            return self.db is self.db, x

        print(SameTask is Task, isinstance(where, Task), isinstance(uses, Database), isinstance(uses, tasks.Task))
        print(issubclass(Database, Task), isinstance(tasks, Celery), celery.current_app.main, where.name)
        print(where(), tasks.conf.broker_url == sys.argv[1], tasks.conf["result_backend"] == sys.argv[1])
        with start_worker(tasks, perform_ping_check=False):
            job = me.delay()
            print(isinstance(job, AsyncResult), job.get(timeout=60) == job.id, where.delay().get(timeout=60))
            print(early.delay().get(timeout=60), isinstance(early, tasks.Task))
            print(uses.apply_async((1,)).get(timeout=60), uses.s(2).apply_async().get(timeout=60))
        print(sorted(ended))
        tasks.conf.task_always_eager = True
        done = where.delay()
        print(isinstance(done, EagerResult), done.get(), done.successful())
        try:
            tasks.worker_main(["worker"])
        except AttributeError as error:
            print(error)
        """,
        redis_url,
    )
    lines = out.splitlines()
    assert lines[:3] == ["True True True False", "True True forms forms.where", "forms True True"]
    assert "True True forms" in lines
    assert "('forms', 0) True" in lines, "tasks that were made before Task was set are of it, too"
    assert "(True, 1) (True, 2)" in lines
    assert "[('SUCCESS', (True, 1), True), ('SUCCESS', (True, 2), True)]" in lines
    assert lines[-2:] == [
        "True forms True",
        "Celery has no 'worker_main' here: run `decant worker --faces module:celery`",
    ]


def test_a_target_without_celery_is_one_line(shop: Path, start: Any, redis_url: str) -> None:
    (shop / "empty.py").write_text("x = 1\n")
    missing = start("empty", BROKER=redis_url)
    assert missing.ends() == 1
    assert "TARGET 'empty' has no Celery application named celery, celery_app, app" in missing.output
    assert "Traceback" not in missing.output


async def test_a_thread_and_the_loop_may_settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither holds what the other needs while it asks where the jobs are; what one has settled stays."""
    asked: list[Place] = []
    both = asyncio.Event()

    async def asking(conf: Any, config: Any) -> Place:
        asked.append(Place(f"redis://127.0.0.1:1/{len(asked)}", None))
        place = asked[-1]
        if len(asked) == 2:
            both.set()
        await both.wait()
        return place

    monkeypatch.setattr(celery_app, "found", asking)
    celery = celery_app.Celery("shop", set_as_current=False)

    async def on_the_loop() -> Any:
        return celery._app()

    async with asyncio.timeout(20):
        sites = await asyncio.gather(in_thread(celery._app), bridged(on_the_loop()))
    assert len(asked) == 2
    assert sites[0] is sites[1]
    assert sites[0].config["TASKS_REDIS_URL"] in [place.redis_url for place in asked]
