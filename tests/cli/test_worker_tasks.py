"""``decant worker`` over tasks: real processes, killed, stopped, paused, and their Redis taken away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from quart import Quart
from redis import Redis

from decant.tasks.extension import Tasks
from tests.cli.forking import Forking
from tests.cli.toys import Project, Running, Start, wait_until
from tests.ledgers import ledger_database, ledger_url
from tests.valkey import Server, running

__all__ = ["ledger_database", "ledger_url"]  # fixtures

TOYS = """
    import asyncio, os, time
    from quart import Quart
    from decant.tasks.extension import Tasks
    from decant.tasks.worker.settings import worker_settings

    app = Quart(__name__)
    app.config.update(
        TASKS_DATABASE_URL=os.environ["DATABASE_URL"], TASKS_REDIS_URL=os.environ["REDIS_URL"],
        TASKS_PREFIX="toy", TASKS_LEASE_S=float(os.environ.get("LEASE_S", 30)),
    )
    tasks = Tasks()

    @tasks.task(name="quick")
    async def quick(word):
        print(f"quick {word}", flush=True)
        return word

    @tasks.task(name="thread")
    def thread(word):
        print(f"thread {word}", flush=True)

    @tasks.task(name="held")
    async def held(file):
        print("held begins", flush=True)
        while not os.path.exists(file):
            await asyncio.sleep(0.02)
        print("held ends", flush=True)

    @tasks.task(name="slow")
    async def slow(seconds):
        print("slow begins", flush=True)
        await asyncio.sleep(min(seconds, float(os.environ.get("AT_MOST", "inf"))))
        print("slow ends", flush=True)
        return seconds

    tasks.init_app(app)

    @app.before_serving
    async def before():
        print("app started", flush=True)

    @app.after_serving
    async def after():
        print("app shut down", flush=True)

    WorkerSettings = worker_settings(tasks, app)
"""


class Producer:
    """An application that only asks for jobs; synchronous, on a loop of its own, which rests between the calls: what
    goes on in the background, as the push of a job, is ended before that.
    """

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.app = Quart(__name__)
        self.app.config.update(TASKS_DATABASE_URL=database_url, TASKS_REDIS_URL=redis_url, TASKS_PREFIX="toy")
        self.tasks = Tasks(set_as_current=False)
        self.tasks.init_app(self.app)
        self.runner = asyncio.Runner()

    def run(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def in_app() -> Any:
            async with self.app.app_context():
                value = await call()
            await self.tasks.runtime().dispatcher.aclose()
            return value

        return self.runner.run(in_app())

    def send(self, name: str, *args: Any, **options: Any) -> UUID:
        result = self.run(lambda: self.tasks.send_task(name, args, **options))
        return UUID(result.id)

    def record(self, id_: UUID) -> Any:
        return self.run(lambda: self.tasks.runtime().record(id_))

    def ends(self, id_: UUID, timeout_s: float = 30.0) -> Any:
        wait_until(lambda: self.record(id_).finished is not None, timeout_s)
        return self.record(id_)

    def close(self) -> None:
        self.run(self.tasks.runtime().aclose)
        self.runner.close()


@pytest.fixture
def toys(project: Project) -> Project:
    project.write("toytasks.py", TOYS)
    return project


@pytest.fixture
def producer(ledger_url: str, redis_url: str) -> Iterator[Producer]:
    made = Producer(ledger_url, redis_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def decant() -> Iterator[Forking]:
    made = Forking()
    yield made
    made.close()


@pytest.fixture
def work(toys: Project, start: Start, ledger_url: str, redis_url: str) -> Callable[..., Running]:
    """Start a worker, and wait until it listens."""

    def begin(*options: str, target: str = "toytasks:WorkerSettings", **environment: str) -> Running:
        environment = {"DATABASE_URL": ledger_url, "REDIS_URL": redis_url, **environment}
        made = start("worker", target, *options, **environment)
        made.expect(r"worker \S+ is ready: ")
        return made

    return begin


def test_it_runs_tasks_of_all_kinds_until_asked_to_stop(work: Any, producer: Producer) -> None:
    worker = work()
    quick, thread = producer.send("quick", "one"), producer.send("thread", "two")
    assert (producer.ends(quick).state, producer.ends(thread).state) == ("SUCCESS", "SUCCESS")
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0
    assert worker.lines.count("quick one") == worker.lines.count("thread two") == 1
    assert worker.lines.index("app started") < worker.lines.index("quick one") < worker.lines.index("app shut down")
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("target", ["toytasks:app", "toytasks:tasks"])
def test_an_application_or_its_tasks_are_targets_too(work: Any, producer: Producer, target: str) -> None:
    worker = work(target=target)
    assert producer.ends(producer.send("quick", "one")).state == "SUCCESS"
    worker.signal(signal.SIGINT)
    assert worker.ends() == 0


def test_the_jobs_of_a_killed_worker_run_on_another_after_the_lease(work: Any, producer: Producer) -> None:
    first = work(LEASE_S="1")
    id_ = producer.send("slow", 600)
    first.expect("^slow begins$")
    first.signal(signal.SIGKILL)
    second = work(LEASE_S="1", AT_MOST="0.1")
    ready = time.monotonic()
    second.expect("^slow begins$")
    assert time.monotonic() - ready < 20  # a lease of 1 s, and a sweep each second; else it is half a minute
    record = producer.ends(id_)
    assert (record.state, record.attempt, record.deaths) == ("SUCCESS", 2, 1)
    assert "slow ends" not in first.output


def test_running_jobs_may_end_within_the_grace_time(work: Any, producer: Producer, toys: Project) -> None:
    worker = work("--grace", "60")
    id_ = producer.send("held", "go")
    worker.expect("^held begins$")
    worker.signal(signal.SIGTERM)
    worker.expect("waiting up to 60 s for 1 running jobs")
    later = producer.send("quick", "later")
    toys.write("go", "")
    assert worker.ends() == 0
    assert producer.record(id_).state == "SUCCESS"
    assert worker.lines.index("held ends") < worker.lines.index("app shut down")
    assert producer.record(later).state == "PENDING"
    assert "quick later" not in worker.output


def test_what_does_not_end_is_given_back_and_taken_at_once(work: Any, producer: Producer) -> None:
    """It does not count as an attempt."""
    first = work("--grace", "0.5")
    id_ = producer.send("slow", 600)
    first.expect("^slow begins$")
    second = work(AT_MOST="0.1")
    first.signal(signal.SIGTERM)
    first.expect("1 jobs still run: they are cancelled and given back")
    second.expect("^slow begins$")
    assert first.ends() == 0
    record = producer.ends(id_)
    assert (record.state, record.attempt, record.deaths) == ("SUCCESS", 1, 0)


def test_a_second_signal_does_it_now(work: Any, producer: Producer) -> None:
    worker = work("--grace", "60")
    id_ = producer.send("slow", 60)
    worker.expect("^slow begins$")
    worker.signal(signal.SIGTERM)
    worker.expect("waiting up to 60 s")
    worker.signal(signal.SIGTERM)
    assert worker.ends(40) == 0
    assert producer.record(id_).state == "PENDING"


def test_after_a_flush_everything_that_waits_is_put_back(
    work: Any, producer: Producer, redis_url: str, toys: Project
) -> None:
    worker = work("--concurrency", "1")
    held = producer.send("held", "go")
    worker.expect("^held begins$")
    waiting = [producer.send("quick", number) for number in range(5)]
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
    worker.expect("Redis had been emptied, or is new: 5 jobs")
    toys.write("go", "")
    assert {producer.ends(id_).state for id_ in (held, *waiting)} == {"SUCCESS"}
    assert worker.lines.count("held begins") == 1


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with running(folder) as server:
        yield server


def test_a_restart_of_redis_loses_nothing(work: Any, ledger_url: str, own_redis: Server, toys: Project) -> None:
    producer = Producer(ledger_url, own_redis.url)
    worker = work(REDIS_URL=own_redis.url)
    held = producer.send("held", "go")
    worker.expect("^held begins$")
    own_redis.kill()
    meanwhile = producer.send("quick", "meanwhile")
    worker.expect("the connection was lost, next attempt in")
    toys.write("go", "")
    worker.expect("^held ends$")
    own_redis.start()
    after = producer.send("quick", "after")
    assert {producer.ends(id_, 60).state for id_ in (held, meanwhile, after)} == {"SUCCESS"}
    assert worker.lines.count("held begins") == 1
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0
    assert "Traceback" not in worker.output
    producer.close()


def test_it_starts_and_stops_while_redis_is_away(work: Any, own_redis: Server) -> None:
    own_redis.kill()
    worker = work(REDIS_URL=own_redis.url)
    worker.expect("the connection was lost")
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0
    assert "Traceback" not in worker.output


def test_plain_arq_runs_the_same_settings(toys: Project, producer: Producer, ledger_url: str, redis_url: str) -> None:
    """Its claims are renewed beyond the lease, and what waits is swept."""
    slow, quick = producer.send("slow", 3), producer.send("quick", "one")
    environment = os.environ | {"DATABASE_URL": ledger_url, "REDIS_URL": redis_url, "PYTHONUNBUFFERED": "1"}
    environment["LEASE_S"] = "2"
    process = subprocess.Popen(
        [sys.executable, "-m", "arq", "toytasks.WorkerSettings"],
        cwd=toys.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for id_ in (slow, quick):
            record = producer.ends(id_, 60)
            assert (record.state, record.attempt, record.deaths) == ("SUCCESS", 1, 0)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (0, -signal.SIGTERM, 1)
    assert output.count("slow begins") == 1
    assert "app shut down" in output


def test_its_heartbeat_and_the_control_channel(work: Any, producer: Producer, redis_url: str) -> None:
    worker = work("--name", "toy1", "--queues", "default=3,mail", "-c", "7")
    control = producer.tasks.control
    # It is ready after a second if Redis has not told it by then that it hears.
    [reply] = wait_until(lambda: producer.run(lambda: control.ping(timeout=20)))
    [(worker_id, answer)] = reply.items()
    assert worker_id.startswith("toy1:")
    assert answer == {"ok": "pong"}

    def beat() -> Any:
        with Redis.from_url(redis_url) as redis:
            told = redis.get(f"toy:worker:{worker_id}")
            return None if told is None else json.loads(told)  # type: ignore[arg-type]

    told = wait_until(beat)
    assert told["queues"] == {"default": 3, "mail": 1}
    assert (told["concurrency"], told["paused"], told["active"]) == (7, False, [])
    assert told["rss_bytes"] > 1_000_000
    producer.run(lambda: control.shutdown(destination="toy1"))
    assert worker.ends() == 0
    assert beat() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toytasks:WorkerSettings", "--queues", "a,,b"], "--queues = 'a,,b' is not valid"),
        (["toytasks:WorkerSettings", "--concurrency", "0"], "0 is not in the range x>=1"),
        (["toytasks:WorkerSettings", "--grace", "-1"], "-1.0 is not in the range"),
        (["toytasks:quick"], "is neither arq settings nor an application"),
        (["toyjobs:WorkerSettings", "--name", "x"], "--name is for the tasks of an application"),
        (["toytasks:missing"], "toytasks has no 'missing'"),
    ],
)
def test_wrong_arguments_are_one_line(
    toys: Project, decant: Forking, ledger_url: str, redis_url: str, arguments: list[str], message: str
) -> None:
    status, output = decant("worker", *arguments, cwd=toys.root, DATABASE_URL=ledger_url, REDIS_URL=redis_url)
    assert status in (1, 2)
    assert message in output
    assert "Traceback" not in output


def test_an_application_that_does_not_start_ends_it_with_the_reason(
    toys: Project, decant: Forking, ledger_url: str, redis_url: str
) -> None:
    with (toys.root / "toytasks.py").open("a") as file:
        file.write("\n@app.before_serving\nasync def broken(): raise KeyError('a bug')\n")
    status, output = decant("worker", "toytasks:app", cwd=toys.root, DATABASE_URL=ledger_url, REDIS_URL=redis_url)
    assert status == 1
    assert output.splitlines()[-1] == "decant: the application did not start: KeyError: 'a bug'"


def test_missing_tables_end_it_with_what_to_do(
    toys: Project, decant: Forking, database_url: str, redis_url: str
) -> None:
    status, output = decant("worker", "toytasks:app", cwd=toys.root, DATABASE_URL=database_url, REDIS_URL=redis_url)
    assert status == 1
    assert output.splitlines()[-1].startswith("decant: the tables of the ledger are missing")
    assert "Traceback" not in output
