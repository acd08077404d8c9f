"""Jobs in processes: a worker that dies fails its own job only, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from decant.executor import Executor, WorkerDied
from decant.faces import face

from . import jobs
from .conftest import Site

pytestmark = pytest.mark.parity("executor", "EXECUTOR_TYPE")


@pytest.fixture
async def site(make_site: Callable[..., Site]) -> AsyncIterator[Site]:
    """Two processes at most."""
    site = make_site("decant", EXECUTOR_TYPE="process", EXECUTOR_MAX_WORKERS=2)
    yield site
    await site.executor.drain(0)


async def pid_in(file: Path) -> int:
    """The process of a job that holds."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(file.exists):
            await asyncio.sleep(0.01)
    return int(await asyncio.to_thread(file.read_text))


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int, within_s: float = 60) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


async def test_a_job_runs_in_another_process(site: Site) -> None:
    """Coroutine functions, too; map sends several calls in one message."""
    assert await site.executor.submit(jobs.pid) != os.getpid()
    assert await site.executor.submit(jobs.square, 5) == 25
    assert await site.executor.submit(jobs.square_later, 6) == 36
    for chunksize in (1, 3, 100):
        got = [value async for value in site.executor.map(jobs.square, range(10), chunksize=chunksize)]
        assert got == [number * number for number in range(10)]
    assert [value async for value in site.executor.map(jobs.square_later, range(3), chunksize=2)] == [0, 1, 4]
    with pytest.raises(ValueError, match="chunksize is 0"):
        site.executor.map(jobs.square, range(10), chunksize=0)


async def test_errors_come_with_their_traceback(site: Site) -> None:
    """The job's own exception; one that cannot be pickled is told in words; the worker stays."""
    before = await site.executor.submit(jobs.pid)
    with pytest.raises(KeyError, match="nothing there") as caught:
        await site.executor.submit(jobs.fail)
    assert "jobs.py" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        await site.executor.submit(jobs.fail_oddly)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        await site.executor.submit(jobs.unpicklable)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        await site.executor.submit(lambda: 1)
    assert await site.executor.submit(jobs.pid) == before


async def test_a_killed_worker_fails_its_job_and_no_other(site: Site, tmp_path: Path) -> None:
    """SIGKILL in the middle of a job: its future fails, running and queued ones do not, and it is replaced."""
    held = site.executor.submit(jobs.hold, str(tmp_path / "held"))
    other = site.executor.submit(jobs.nap, 0.5)
    queued = [site.executor.submit(jobs.square, number) for number in range(20)]
    killed = await pid_in(tmp_path / "held")
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(WorkerDied, match=f"{killed} was killed by SIGKILL") as caught:
        await held
    assert isinstance(caught.value, BrokenProcessPool), "what code for the standard library's pool catches"
    assert await other != killed
    assert await asyncio.gather(*queued) == [number * number for number in range(20)]
    assert killed not in set(await asyncio.gather(*(site.executor.submit(jobs.nap, 0.05) for _ in range(4))))
    with pytest.raises(WorkerDied, match="ended with status 3"):
        await site.executor.submit(jobs.leave)


async def test_a_worker_killed_between_jobs_is_replaced(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """No job fails."""
    idle = await site.executor.submit(jobs.pid)
    os.kill(idle, signal.SIGKILL)
    assert await asyncio.to_thread(gone, idle)
    assert await site.executor.submit(jobs.pid) != idle
    assert f"the idle worker process {idle} was killed by SIGKILL" in caplog.text


async def test_each_kill_under_load_loses_one_job_at_most(site: Site) -> None:
    """Whatever else was submitted has its result."""
    pids = set(await asyncio.gather(*(site.executor.submit(jobs.nap, 0.05) for _ in range(4))))
    futures = [site.executor.submit(jobs.nap, 0.02) for _ in range(60)]
    kills = 0
    for _ in range(3):
        await asyncio.sleep(0.1)
        for pid in pids:
            if await asyncio.to_thread(alive, pid):
                os.kill(pid, signal.SIGKILL)
                kills += 1
        pids = {future.result() for future in futures if future.done() and not future.exception()} - pids
    results = await asyncio.gather(*futures, return_exceptions=True)
    died = [result for result in results if isinstance(result, BaseException)]
    assert kills
    assert {type(error) for error in died} <= {WorkerDied}
    assert len(died) <= kills


async def test_the_end_kills_what_does_not_end(site: Site, tmp_path: Path) -> None:
    """After the deadline: the running job fails, the queued one is cancelled, no process remains."""
    held = [site.executor.submit(jobs.hold, str(tmp_path / name)) for name in ("one", "two")]
    queued = site.executor.submit(jobs.square, 1)
    pids = [await pid_in(tmp_path / name) for name in ("one", "two")]
    await site.executor.drain(0.05)
    assert [type(error) for error in await asyncio.gather(*held, return_exceptions=True)] == [WorkerDied] * 2
    assert queued.cancelled()
    assert [await asyncio.to_thread(gone, pid) for pid in pids] == [True, True]


async def test_idle_workers_end_with_the_executor(site: Site) -> None:
    """As soon as it is drained."""
    pid = await site.executor.submit(jobs.pid)
    await site.executor.drain()
    assert await asyncio.to_thread(gone, pid)


@pytest.mark.parametrize("make", [Executor, face(Executor)])
def test_flask_has_processes_too(make: Any) -> None:
    """Directly and by the face; callbacks run here, with the context."""
    app = Flask("in_processes")
    app.config.update(CPU_EXECUTOR_TYPE="process", CPU_EXECUTOR_MAX_WORKERS=1)
    executor, done, called = make(app, "cpu"), threading.Event(), []

    def callback(future: Any) -> None:
        called.append(future.result())
        done.set()

    with app.test_request_context("/"):
        future = executor.submit(jobs.square, 3)
        future.add_done_callback(callback)
        assert future.result(60) == 9
        assert list(executor.map(jobs.square, range(4), chunksize=2)) == [0, 1, 4, 9]
    assert done.wait(60)
    assert called == [9]
    executor.shutdown()


PARENT = """
import sys, time
from flask import Flask
from decant.executor import Executor
from tests.executor import jobs

if __name__ == "__main__":
    app = Flask(__name__)
    app.config.update(EXECUTOR_TYPE="process", EXECUTOR_MAX_WORKERS=2, EXECUTOR_SHUTDOWN_TIMEOUT=1)
    executor = Executor(app)
    executor.submit(jobs.hold, sys.argv[1])
    print(executor.submit(jobs.pid).result(), flush=True)
    executor.submit(jobs.late_note, sys.argv[1] + ".late")
    print("ready", flush=True)  # Python loses a Ctrl-C that comes in a destructor, as in those of dropped futures
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("ending", ["killed", "interrupted", "ends"])
def test_no_process_outlives_its_parent(tmp_path: Path, ending: str) -> None:
    """The parent is killed, gets Ctrl-C with its group, or simply ends: then jobs have until the deadline to end."""
    script, held = tmp_path / "parent.py", tmp_path / "held"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(held), "0" if ending == "ends" else "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    idle = int(parent.stdout.readline())
    assert parent.stdout.readline() == b"ready\n"
    deadline = time.monotonic() + 60
    while ending != "ends" and not held.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if ending == "killed":
        parent.kill()
    elif ending == "interrupted":
        os.killpg(parent.pid, signal.SIGINT)
    try:
        _, errors = parent.communicate(timeout=30)
    except subprocess.TimeoutExpired:  # one that came in a destructor: whoever pressed it presses again
        assert ending == "interrupted"
        os.killpg(parent.pid, signal.SIGINT)
        _, errors = parent.communicate(timeout=30)
    assert gone(idle)
    assert not held.exists() or gone(int(held.read_text()))
    assert b"closed" not in errors
    if ending == "ends":
        assert b"the job hold failed" in errors
        assert Path(f"{held}.late").exists()
