"""``decant worker``: runs jobs, outlives its Redis, and lets what runs end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis import Redis
from redis.exceptions import RedisError

from decant.embedded.valkey_server import Valkey
from tests.cli.toys import Project, Start, wait_until
from tests.ports import kept_port


@pytest.fixture
def enqueue(project: Project, servers: Any) -> Any:
    """Enqueue a job for the toy worker."""

    def put(name: str, url: str = servers.redis_url) -> None:
        async def connect_and_put() -> None:
            pool: ArqRedis = await create_pool(RedisSettings.from_dsn(url))
            await pool.enqueue_job(name, _queue_name=f"arq:{project.root}")
            await pool.aclose()

        asyncio.run(connect_and_put())

    return put


class OwnRedis:
    """A server on a port of its own that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.kept = kept_port()
        self.port = self.kept.getsockname()[1]
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = str(Valkey.find_programs() / "valkey-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--appendonly", "yes"]
        self.process = subprocess.Popen([program, *options], cwd=self.folder, stdout=subprocess.DEVNULL)

        def answers() -> bool:
            try:
                with Redis.from_url(self.url) as client:
                    return bool(client.ping())
            except RedisError:
                return False

        wait_until(answers)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
    server.kept.close()


@pytest.mark.parametrize("target", [[], ["toyjobs:WorkerSettings"]])
def test_it_runs_jobs_until_asked_to_stop(
    project: Project, start: Start, servers: Any, enqueue: Any, target: list[str]
) -> None:
    running = start("worker", *target, REDIS_URL=servers.redis_url)
    enqueue("hello")
    running.expect("^job says hello$")
    running.signal(signal.SIGTERM)
    assert running.ends() == 0
    assert running.lines.count("worker shut down") == 1


def test_a_running_job_may_end(project: Project, start: Start, servers: Any, enqueue: Any) -> None:
    running = start("worker", REDIS_URL=servers.redis_url)
    enqueue("slow")
    running.expect("^job begins$")
    running.signal(signal.SIGTERM)
    assert running.ends() == 0
    assert running.lines.index("job ends") < running.lines.index("worker shut down")


def test_a_second_signal_cancels_it_and_the_next_worker_runs_it_again(
    project: Project, start: Start, servers: Any, enqueue: Any
) -> None:
    project.write("toyjobs.py", (project.root / "toyjobs.py").read_text().replace("sleep(1)", "sleep(SECONDS)"))
    with (project.root / "toyjobs.py").open("a") as file:
        file.write("\nSECONDS = int(os.environ['SECONDS'])\n")
    first = start("worker", REDIS_URL=servers.redis_url, SECONDS="60")
    enqueue("slow")
    first.expect("^job begins$")
    first.signal(signal.SIGINT)
    first.expect("waiting up to 10 s for 1 running jobs")
    first.signal(signal.SIGINT)
    assert first.ends(timeout_s=30) == 0
    assert "job ends" not in first.output
    second = start("worker", REDIS_URL=servers.redis_url, SECONDS="0")
    second.expect("^job ends$")


def test_it_waits_for_redis_and_outlives_its_restart(
    project: Project, start: Start, own_redis: OwnRedis, enqueue: Any
) -> None:
    own_redis.stop()
    running = start("worker", REDIS_URL=own_redis.url)
    running.expect(r"the connection was lost, next attempt in \d\.\d s: ")
    own_redis.start()
    running.expect("^worker started$")
    own_redis.stop()
    running.expect(r"(?s)worker started.*the connection was lost, next attempt in")
    own_redis.start()
    enqueue("hello", own_redis.url)
    running.expect("^job says hello$")
    running.signal(signal.SIGTERM)
    assert running.ends() == 0
    assert "Traceback" not in running.output


def test_it_stops_while_it_waits_for_redis(project: Project, start: Start, own_redis: OwnRedis) -> None:
    own_redis.stop()
    running = start("worker", REDIS_URL=own_redis.url)
    running.expect("the connection was lost")
    running.signal(signal.SIGTERM)
    assert running.ends() == 0


def test_what_was_not_started_is_not_shut_down(project: Project, start: Start, own_redis: OwnRedis) -> None:
    """Settings with a pool of their own, which connects at its first command: that fails before on_startup."""
    with (project.root / "toyjobs.py").open("a") as file:
        file.write("\nfrom arq.connections import ArqRedis\n")
        file.write("WorkerSettings.redis_pool = ArqRedis.from_url(os.environ['REDIS_URL'])\n")
    own_redis.stop()
    running = start("worker", REDIS_URL=own_redis.url)
    running.expect("the connection was lost")
    own_redis.start()
    running.expect("^worker started$")
    running.signal(signal.SIGTERM)
    assert running.ends() == 0
    assert running.lines.count("worker shut down") == 1
    assert "Traceback" not in running.output


def test_a_bug_in_the_settings_ends_it(project: Project, start: Start, servers: Any) -> None:
    """With its traceback: it is no matter of waiting."""
    with (project.root / "toyjobs.py").open("a") as file:
        file.write("\nasync def startup(ctx): raise KeyError('a bug')\nWorkerSettings.on_startup = startup\n")
    running = start("worker", REDIS_URL=servers.redis_url)
    assert running.ends() == 1
    assert "KeyError: 'a bug'" in running.output


def test_plain_arq_runs_the_same_settings(project: Project, start: Start, servers: Any, enqueue: Any) -> None:
    enqueue("hello")
    run = subprocess.run(
        [sys.executable, "-m", "arq", "--burst", "toyjobs.WorkerSettings"],
        cwd=project.root,
        env=os.environ | {"REDIS_URL": servers.redis_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "job says hello" in run.stdout + run.stderr
