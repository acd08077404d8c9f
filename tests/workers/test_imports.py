"""An import goes on exactly where it was, wherever its worker is killed; real processes, real SIGKILL."""

from __future__ import annotations

import asyncio
import csv
import io
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select

from app.extensions import db
from app.models import Import, Link
from decant import Quart
from tests.app.conftest import Person
from tests.app.imports.conftest import file_of, number_of, state_of, upload

from .killed_import import POINTS

SITE = "https://example.com/"


@asynccontextmanager
async def process(*arguments: str, environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


def rows_of(number: int) -> list[Sequence[str]]:
    """Every fifth row is refused, every third has no name, all have tags."""
    return [
        (f"{SITE}{n}" if n % 5 else "nowhere", f"row{n}" if n % 3 else "", "", f"tag{n % 4}", "", "")
        for n in range(number)
    ]


async def ada_of(app: Quart) -> Person:
    ada = Person(app.test_client())
    await ada.register("ada")
    return ada


async def check(app: Quart, ada: Person, import_id: int, number: int) -> None:
    """Each row has made its link, or is among the refused ones, once and in order."""
    found = await state_of(app, import_id)
    expected = rows_of(number)
    good = [row[0] for row in expected if row[0] != "nowhere"]
    assert (found.state, found.total, found.made, found.refused) == ("done", number, len(good), number - len(good))
    async with app.app_context():
        assert list(await db.session.scalars(select(Link.target).order_by(Link.id))) == good
    text = await (await ada.get(f"/imports/{import_id}/refused.csv")).get_data()
    rows = list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")))[1:]
    assert [int(row[0]) for row in rows] == [n + 2 for n, row in enumerate(expected) if row[0] == "nowhere"]


@pytest.mark.timeout(300)
async def test_killed_at_every_point(app: Quart, environment: dict[str, str]) -> None:
    """Before and after counting, within a batch's transaction and after it: nothing is lost, nothing is there twice."""
    number = 4200  # nine batches
    ada = await ada_of(app)
    import_id = await number_of(await upload(ada, file_of(*rows_of(number))))
    async with process("-m", "tests.workers.killed_import", environment=environment) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None

        async def run(point: str, passed: int) -> int:
            worker.stdin.write(f"{import_id} {point} {passed}\n".encode())
            async with asyncio.timeout(90):
                return int(await worker.stdout.readline())

        async with asyncio.timeout(90):
            assert await worker.stdout.readline() == b"ready\n"
        done = []
        for passed in (0, 1):
            for point in POINTS:
                if point == "begun" and passed:
                    continue
                assert await run(point, passed) == -signal.SIGKILL, point
                done.append((await state_of(app, import_id)).done)
        assert done == sorted(done)
        assert done[-1] >= 1500
        assert await run("none", 0) == 0
    await check(app, ada, import_id, number)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_worker_that_is_killed(app: Quart, environment: dict[str, str]) -> None:
    """``decant worker``, killed in the middle of an import; the next one goes on by itself, in the end all is there."""
    number = 12_000
    ada = await ada_of(app)
    import_id = await number_of(await upload(ada, file_of(*rows_of(number))))
    command = ("-m", "decant.cli", "worker", "tests.workers.soon:WorkerSettings")

    async def until(rows: int) -> Import:
        async with asyncio.timeout(90):
            while (found := await state_of(app, import_id)).done < rows:
                await asyncio.sleep(0.05)
        return found

    for rows in (1, 4000):
        async with process(*command, environment=environment) as worker:
            found = await until(rows)
            worker.send_signal(signal.SIGKILL)
            assert await worker.wait() == -signal.SIGKILL
            assert found.state == "running"
            assert found.done < number
    async with process(*command, environment=environment):
        await until(number)
        async with asyncio.timeout(90):
            while (await state_of(app, import_id)).active:
                await asyncio.sleep(0.05)
    await check(app, ada, import_id, number)
