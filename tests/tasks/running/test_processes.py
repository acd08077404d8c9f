"""Jobs in processes: limits, ceilings, deaths; what happens to one happens to its own job only."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from decant.tasks.errors import InvalidTaskError, SoftTimeLimitExceeded, TaskError
from decant.tasks.running.processes import Call, ProcessDied, ProcessJob, ProcessPool, TooMuchMemory

JOBS = "tests.tasks.running.process_jobs"
Pool = Callable[..., ProcessPool]


@pytest.fixture
async def pool_of() -> AsyncIterator[Pool]:
    """Makes pools, whose processes end after the test."""
    made: list[ProcessPool] = []

    def make(size: int = 1, **options: Any) -> ProcessPool:
        made.append(ProcessPool(size, modules=[JOBS], **options))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def job(name: str, *args: Any, **kwargs: Any) -> ProcessJob:
    return ProcessJob(Call(JOBS, name, args, kwargs), None)


async def run(pool: ProcessPool, name: str, *args: Any, **kwargs: Any) -> Any:
    return await pool.run(job(name, *args, **kwargs))


async def text_in(file: Path) -> str:
    async with asyncio.timeout(60):
        while not (text := await asyncio.to_thread(lambda: file.exists() and file.read_text())):
            await asyncio.sleep(0.01)
    return text


async def begun(held: ProcessJob, file: Path) -> None:
    """Wait until its function is in the middle, and that is known here."""
    await text_in(file)
    async with asyncio.timeout(60):
        while not held.has_begun:
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(alive, pid):
            await asyncio.sleep(0.02)


async def test_a_function_is_found_by_its_name_and_runs_in_another_process(pool_of: Pool) -> None:
    """Coroutine functions too; the process is kept, and its module has heard of its start."""
    pool = pool_of()
    first = await run(pool, "pid")
    assert first != os.getpid()
    assert await run(pool, "add", 2, y=3) == 5
    assert await run(pool, "add_later", 2, 3) == 5
    assert await run(pool, "marks") == ["init"]
    assert await run(pool, "pid") == first


async def test_errors_come_with_their_traceback_and_the_process_stays(pool_of: Pool) -> None:
    pool = pool_of()
    before = await run(pool, "pid")
    with pytest.raises(KeyError, match="nothing there") as caught:
        await run(pool, "fail")
    assert "process_jobs.py" in str(caught.value.__cause__)
    with pytest.raises(TaskError, match="Odd: 1 and 2"):
        await run(pool, "fail_oddly")
    with pytest.raises(TaskError, match="cannot be sent from its process"):
        await run(pool, "unpicklable")
    with pytest.raises(InvalidTaskError, match=r"nowhere is not to be found .* top of a module"):
        await run(pool, "nowhere")
    assert await run(pool, "pid") == before


async def test_no_more_run_at_once_than_there_are_processes(pool_of: Pool) -> None:
    pool = pool_of(2)
    pids = await asyncio.gather(*(run(pool, "pid") for _ in range(8)))
    assert 1 <= len(set(pids)) <= 2


async def test_a_process_that_dies_fails_its_own_job_and_is_replaced(pool_of: Pool, tmp_path: Path) -> None:
    pool = pool_of(2)
    held = asyncio.create_task(run(pool, "hold", str(tmp_path / "pid")))
    held_pid = int(await text_in(tmp_path / "pid"))
    with pytest.raises(ProcessDied, match="was killed by SIGKILL in the middle"):
        await run(pool, "die")
    assert await run(pool, "add", 1) == 1
    assert not held.done()
    os.kill(held_pid, signal.SIGKILL)
    with pytest.raises(ProcessDied, match=str(held_pid)):
        await held


async def test_one_that_died_while_idle_costs_no_job(pool_of: Pool) -> None:
    pool = pool_of()
    os.kill(first := await run(pool, "pid"), signal.SIGKILL)
    assert await run(pool, "pid") not in (first, os.getpid())


async def test_who_is_cancelled_kills_the_process(pool_of: Pool, tmp_path: Path) -> None:
    """And waits until it is dead, so that the job has no effects after its end."""
    pool = pool_of()
    held = asyncio.create_task(run(pool, "hold", str(tmp_path / "pid")))
    pid = int(await text_in(tmp_path / "pid"))
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
    assert not await asyncio.to_thread(alive, pid)
    assert await run(pool, "add", 1) == 1


@pytest.mark.parametrize("name", ["spin_softly", "sleep_softly", "wait_softly"])
async def test_a_soft_limit_is_raised_inside_wherever_the_function_is(pool_of: Pool, tmp_path: Path, name: str) -> None:
    pool = pool_of()
    soft = job(name, str(tmp_path / "pid"))
    running = asyncio.create_task(pool.run(soft))
    await begun(soft, tmp_path / "pid")
    soft.soften()
    assert await running == "tidied up"
    assert await run(pool, "add", 1) == 1


async def test_a_soft_limit_is_not_lost_while_the_process_begins(pool_of: Pool, tmp_path: Path) -> None:
    """Nor does it hit a process that is not ready for it: the job's time begins when that has taken it."""
    pool, soft, began = pool_of(), job("hold", str(tmp_path / "pid")), []

    def begin() -> None:
        began.append(True)
        soft.soften()

    with pytest.raises(SoftTimeLimitExceeded):
        await asyncio.wait_for(pool.run(soft, begin), 45)
    assert len(began) == 2
    assert await run(pool, "add", 1) == 1


async def test_a_soft_limit_that_is_not_caught_fails_the_job(pool_of: Pool, tmp_path: Path) -> None:
    pool = pool_of()
    soft = job("hold", str(tmp_path / "pid"))
    running = asyncio.create_task(pool.run(soft))
    await begun(soft, tmp_path / "pid")
    soft.soften()
    with pytest.raises(SoftTimeLimitExceeded):
        await running
    soft.soften()  # too late, for whatever runs next
    assert await run(pool, "add", 1) == 1


async def test_a_process_is_replaced_after_its_share_of_jobs(pool_of: Pool, tmp_path: Path) -> None:
    """It says goodbye through worker_process_shutdown."""
    pool = pool_of(max_tasks=2)
    first = await run(pool, "pid")
    await run(pool, "end_into", str(tmp_path / "ended"))
    second = await run(pool, "pid")
    assert second != first
    assert await text_in(tmp_path / "ended") == str(first)


async def test_a_process_that_grew_too_large_is_replaced_after_its_job(pool_of: Pool) -> None:
    pool = pool_of()
    first = await run(pool, "pid")
    rss_kib = int(await asyncio.to_thread(lambda: psutil.Process(first).memory_info().rss)) // 1024
    pool.max_memory_kib = rss_kib + 20_000
    assert await run(pool, "eat", 1, 0) == 1 << 20
    assert await run(pool, "pid") == first
    await run(pool, "keep", 40)
    assert await run(pool, "pid") != first


async def test_a_job_that_takes_more_memory_than_allowed_is_killed(pool_of: Pool) -> None:
    pool = pool_of(max_memory_kib=400_000)
    with pytest.raises(TooMuchMemory, match=r"had \d+ KiB, more than worker_max_memory_per_child = 400000"):
        await asyncio.wait_for(run(pool, "eat", 500, 60), 55)
    assert await run(pool, "add", 1) == 1


async def test_processes_end_with_their_pool(pool_of: Pool) -> None:
    pool = pool_of()
    pid = await run(pool, "pid")
    pool.close()
    await gone(pid)


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import asyncio\n"
        f"from decant.tasks.running.processes import *\n"
        "async def main():\n"
        f"    await ProcessPool(1).run(ProcessJob(Call('{JOBS}', 'hold', ({str(tmp_path / 'pid')!r},)), None))\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.kill()
    asyncio.run(partial(gone, int((tmp_path / "pid").read_text()))())
