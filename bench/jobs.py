"""One Decant worker beside Celery's pools, in one run: throughput, latency, and what an idle worker costs.

    python bench/jobs.py

PostgreSQL (which syncs its files) and Valkey are embedded ones. Celery's Redis transport and arq exclude each other, so
Celery gets a virtual environment of its own, ``.venv-celery``, made once. Jobs are enqueued before the worker starts;
counted is from a tenth of them on, so that its start is not. It takes about three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Run as a script, this file's folder comes first, and the files in it would be taken for packages of their names.
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry).resolve() != ROOT / "bench")]

import psutil  # noqa: E402
from redis import Redis  # noqa: E402
from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402

from decant.embedded import services  # noqa: E402

CELERY = ROOT / ".venv-celery"
PEER = ROOT / "bench" / "celery_peer"
POOLS = (("prefork", 2), ("prefork", 16), ("gevent", 100), ("threads", 100))
ALONE = ", Redis only"


def install_celery() -> None:
    """Make Celery's environment, unless it is there."""
    if (CELERY / "bin" / "celery").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", CELERY], check=True)
    subprocess.run([CELERY / "bin" / "pip", "install", "-q", "celery[redis]>=5.4", "gevent"], check=True)


class Bench:
    """Both sides, on the same servers."""

    def __init__(self, database_url: str, redis_url: str, log: Path) -> None:
        self.redis, self.log = Redis.from_url(redis_url), log
        log.touch()
        # Celery's queues and results in a database of their own.
        self.celery_url = redis_url.rpartition("/")[0] + "/1"
        self.celery = Redis.from_url(self.celery_url)
        urls = {"BENCH_DATABASE_URL": database_url, "BENCH_REDIS_URL": redis_url, "PEER_REDIS_URL": self.celery_url}
        self.environment = {**os.environ, **urls, "PYTHONUNBUFFERED": "1"}
        os.environ.update(urls)

    # -- processes -------------------------------------------------------------------------------------------------

    @contextmanager
    def worker(self, *command: Any, cwd: Path) -> Iterator[psutil.Process]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=self.environment, cwd=cwd, stdout=log, stderr=log)
        try:
            yield psutil.Process(process.pid)
        finally:
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children:
                if child.is_running():
                    child.kill()

    def decant_worker(self) -> Any:
        command = ("-m", "decant.cli", "worker", "bench.jobs_app:WorkerSettings", "-l", "warning")
        return self.worker(sys.executable, *command, cwd=ROOT)

    def celery_worker(self, pool: str, concurrency: int) -> Any:
        options = ("--pool", pool, "-c", str(concurrency), "-l", "WARNING", "--without-gossip", "--without-mingle")
        return self.worker(CELERY / "bin" / "celery", "-A", "peer", "worker", *options, cwd=PEER)

    def peer(self, *arguments: Any) -> list[float]:
        command = [CELERY / "bin" / "python", "peer.py", *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, cwd=PEER, check=True, capture_output=True, timeout=120)
        found: list[float] = json.loads(done.stdout)
        return found

    # -- what is left to do ----------------------------------------------------------------------------------------

    def left(self) -> int:
        return int(self.redis.zcard("decant:queue:default"))

    def celery_left(self) -> int:
        return int(self.celery.llen("celery")) + int(self.celery.hlen("unacked"))


def per_second(left: Callable[[], int], count: int, timeout_s: float = 60.0) -> float:
    """Jobs per second, from a tenth of them on."""
    begun = None
    deadline = time.monotonic() + timeout_s
    while (now := left()) > 0:
        if begun is None and now <= 0.9 * count:
            begun, first = time.monotonic(), now
        if time.monotonic() > deadline:
            raise TimeoutError(f"{now} of {count} jobs are left after {timeout_s:g} s")
        time.sleep(0.01)
    assert begun is not None, "all jobs were done at once: enqueue more"
    return first / (time.monotonic() - begun)


async def enqueue(name: str, count: int, at_once: int) -> list[float]:
    """Seconds that each ``delay`` took."""
    from bench.jobs_app import app, tasks

    took: list[float] = []

    async def one() -> None:
        begun = time.perf_counter()
        await tasks.tasks[name].delay()
        took.append(time.perf_counter() - begun)

    async with app.test_app(), app.app_context():
        for _ in range(count // at_once):
            await asyncio.gather(*(one() for _ in range(at_once)))
    return took


async def latency(name: str, count: int) -> list[float]:
    """Seconds between ``delay`` and the job's start, on a worker that has nothing else to do."""
    from bench.jobs_app import app, tasks

    found: list[float] = []
    async with app.test_app(), app.app_context():
        for _ in range(count):
            begun = time.time()
            result = await tasks.tasks[name].delay()
            found.append(await result.get(timeout=10) - begun)
            await asyncio.sleep(0.02)
    return found


def idle_percent(worker: psutil.Process, seconds: float) -> float:
    """CPU of one core, of a worker and its children."""

    def spent() -> float:
        times = [one.cpu_times() for one in (worker, *worker.children(recursive=True))]
        return sum(one.user + one.system for one in times)

    before = spent()
    time.sleep(seconds)
    return (spent() - before) / seconds * 100


def milliseconds(samples: list[float]) -> str:
    ordered = sorted(samples)
    return f"{statistics.median(ordered) * 1e3:.2f} / {ordered[int(len(ordered) * 0.95)] * 1e3:.2f}"


def row(title: str, value: Any, note: str = "") -> None:
    print(f"{title:<52} {value:>16}  {note}".rstrip(), flush=True)


def throughput(bench: Bench, job: str, count: int, celery_count: Callable[[int], int], least: float) -> None:
    """One kind of job on all of them. ``least`` is how often its rival's rate Decant's should be."""
    print(f"\n{job}, jobs per second")
    rates: dict[str, float] = {}
    for title, name in (("Decant, durable", job), ("Decant, Redis only", job + ALONE)):
        asyncio.run(enqueue(name, count, 100))
        with bench.decant_worker():
            rates[title] = per_second(bench.left, count)
        row(f"  {title}, concurrency 100", f"{rates[title]:.0f}")
    theirs: dict[str, float] = {}
    for pool, concurrency in POOLS:
        number = celery_count(concurrency)
        bench.peer("enqueue", job, number)
        with bench.celery_worker(pool, concurrency):
            theirs[f"{pool} -c{concurrency}"] = per_second(bench.celery_left, number)
        row(f"  Celery {pool} -c{concurrency}", f"{theirs[f'{pool} -c{concurrency}']:.0f}")
    rival = "prefork -c2" if job == "noop" else max(theirs, key=lambda name: theirs[name])
    for title, rate in rates.items():
        row(f"  {title} / Celery {rival}", f"{rate / theirs[rival]:.2f}", f"(wanted: {least:g})")


def idle(bench: Bench, samples: int) -> None:
    """Latency and CPU of workers that have nothing else to do."""
    print("\nan idle worker: delay → start, ms: p50 / p95; CPU in % of a core over 10 s")
    with bench.decant_worker() as worker:
        asyncio.run(latency("started", 5))
        row("  Decant, durable", milliseconds(asyncio.run(latency("started", samples))), "(wanted: below 10)")
        row("  Decant, Redis only", milliseconds(asyncio.run(latency("started" + ALONE, samples))))
        row("  Decant, CPU", f"{idle_percent(worker, 10):.2f}", "(wanted: below 0.5)")
    with bench.celery_worker("prefork", 2) as worker:
        bench.peer("latency", 5)
        row("  Celery prefork -c2", milliseconds(bench.peer("latency", samples)))
        row("  Celery prefork -c2, CPU", f"{idle_percent(worker, 10):.2f}")


def delays(bench: Bench, count: int) -> None:
    """What a call costs its caller; nobody works meanwhile."""
    print("\ndelay(), one after another, ms: p50 / p95")
    row("  Decant, durable", milliseconds(asyncio.run(enqueue("noop", count, 1))), "(wanted: at most 1.0)")
    row("  Decant, Redis only", milliseconds(asyncio.run(enqueue("noop" + ALONE, count, 1))))
    row("  Celery", milliseconds(bench.peer("enqueue", "noop", count)))
    bench.redis.flushdb()
    bench.celery.flushdb()


async def create(url: str) -> None:
    from decant.tasks.ledger.tables import metadata

    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()


async def forget(url: str) -> None:
    from decant.tasks.ledger.tables import jobs

    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.execute(jobs.delete())
    await engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=6_000, help="per run (1,000 to 100,000)")
    parser.add_argument("--only", choices=("delays", "idle", "noop", "sleep"), help="one part")
    given = parser.parse_args()
    if not 1_000 <= given.jobs <= 100_000:
        parser.error("--jobs must be from 1000 to 100000")
    install_celery()
    with TemporaryDirectory() as folder, services(Path(folder), durable=True) as servers:
        bench = Bench(servers.database_url, servers.redis_url, Path(folder) / "workers.log")
        asyncio.run(create(servers.database_url))
        parts: dict[str, Callable[[], None]] = {
            "delays": lambda: delays(bench, 500),
            "idle": lambda: idle(bench, 200),
            "noop": lambda: throughput(bench, "noop", given.jobs, lambda _: given.jobs // 3, 1),
            "sleep": lambda: throughput(
                bench, "sleep_20ms", given.jobs, lambda pool: min(given.jobs // 4, pool * 50 * 4), 2
            ),
        }
        for name, part in parts.items():
            if given.only in (None, name):
                try:
                    part()
                except BaseException:
                    print(bench.log.read_text(errors="replace")[-4000:], file=sys.stderr)
                    raise
                asyncio.run(forget(servers.database_url))


if __name__ == "__main__":
    main()
