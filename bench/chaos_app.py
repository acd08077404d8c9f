"""The application of ``bench/chaos.py``: what its web processes and its workers run.

python bench/chaos_app.py FILE SECONDS JOBS_PER_SECOND     a web process; it writes what became of each call
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
import uuid
from pathlib import Path
from typing import Any, TextIO

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from sqlalchemy import BigInteger, Identity, Text
from sqlalchemy.exc import SQLAlchemyError

from decant import Quart, wait
from decant.database import SQLAlchemy
from decant.errors import Overloaded, Unavailable
from decant.tasks import Tasks
from decant.tasks.worker.settings import worker_settings

app = Quart(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=os.environ["CHAOS_DATABASE_URL"],
    REDIS_URL=os.environ["CHAOS_REDIS_URL"],
    TASKS_LEASE_S=2.0,
    TASKS_MAX_ATTEMPTS=100,
)
db = SQLAlchemy(app)
tasks = Tasks(app)
AGAIN = {"autoretry_for": (Exception,), "max_retries": 100, "default_retry_delay": 0.5}


class Order(db.Model):  # type: ignore[name-defined]
    """What a joined call writes beside its job."""

    key = db.Column(Text, primary_key=True)


class Effect(db.Model):  # type: ignore[name-defined]
    """What a job does: once, if it ends in its own transaction."""

    id = db.Column(BigInteger, Identity(), primary_key=True)
    key = db.Column(Text, nullable=False, index=True)
    kind = db.Column(Text, nullable=False)


@tasks.task(name="plain", **AGAIN)
async def plain(key: str) -> None:
    """Its effect is committed before the job has ended: a worker that dies between makes it twice."""
    db.session.add(Effect(key=key, kind="plain"))
    await db.session.commit()
    await asyncio.sleep(random.uniform(0, 0.3))


@tasks.task(name="exact", transaction=True, **AGAIN)
async def exact(key: str) -> None:
    """Its effect is committed with the job's end."""
    db.session.add(Effect(key=key, kind="exact"))
    await db.session.flush()
    await asyncio.sleep(random.uniform(0, 0.3))


@tasks.task(name="threaded", **AGAIN)
def threaded(key: str) -> None:
    """A plain function, in a thread."""
    db.session.add(Effect(key=key, kind="threaded"))
    wait(db.session.commit())
    time.sleep(random.uniform(0, 0.05))


WorkerSettings = worker_settings(tasks, app)


class Undone(Exception):
    """Rolls a transaction back."""


async def call(kind: str, key: str) -> str:
    """One call, as a view makes it; the id of the job."""
    async with app.app_context():
        if kind in ("joined", "undone"):
            async with db.session.begin():
                db.session.add(Order(key=key))
                result = await exact.delay(key)
                if kind == "undone":
                    raise Undone
            return str(result.id)
        return str((await tasks.tasks[kind].delay(key)).id)


async def produce(file: TextIO, until: float, pause_s: float) -> None:
    while time.time() < until:
        kind = random.choices(("plain", "exact", "threaded", "joined", "undone"), (4, 4, 1, 3, 1))[0]
        told: dict[str, Any] = {"key": uuid.uuid4().hex, "kind": kind, "begun": time.time()}
        try:
            told["id"] = await call(kind, told["key"])
        except Undone:
            pass
        except (Unavailable, Overloaded, SQLAlchemyError, OSError) as error:
            told["refused"] = f"{type(error).__name__}: {error}"
        told["ended"] = time.time()
        file.write(json.dumps(told) + "\n")
        file.flush()
        await asyncio.sleep(random.uniform(0, 2 * pause_s))


async def web(path: str, seconds: float, per_second: float) -> None:
    """Ten producers at once."""
    async with app.test_app():
        until = time.time() + seconds
        with open(path, "a") as file:
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(produce(file, until, 10 / per_second))


if __name__ == "__main__":
    asyncio.run(web(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
