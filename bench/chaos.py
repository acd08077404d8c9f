"""Jobs while everything fails: what is accepted ends, and what joins its job's transaction happens once.

    python bench/chaos.py --seconds 60

Web processes enqueue all the time, some calls joined to a transaction, some rolled back; a worker is killed with
SIGKILL every 4 s and started again; Redis is flushed twice, and away for 3 s once; PostgreSQL is restarted once.
Afterwards everything that was accepted has to end. The exit status is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Run as a script, this file's folder comes first, and the files in it would be taken for packages of their names.
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry).resolve() != ROOT / "bench")]

import asyncpg  # noqa: E402
from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402

from bench.servers import Postgres, Valkey, wait_until  # noqa: E402

ENDED = ("SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED")
LONGEST_S = 300.0
AFTER_S = 1.0
"""A call that began within a second of PostgreSQL's return may still meet a connection that died with it."""


@dataclass
class Scene:
    """The processes, and when PostgreSQL was away."""

    postgres: Postgres
    valkey: Valkey
    folder: Path
    webs: list[subprocess.Popen[bytes]] = field(default_factory=list)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    away: list[tuple[float, float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    begun: Counter[int] = field(default_factory=Counter)

    @property
    def environment(self) -> dict[str, str]:
        urls = {"CHAOS_DATABASE_URL": self.postgres.url, "CHAOS_REDIS_URL": self.valkey.url}
        return {**os.environ, **urls, "PYTHONUNBUFFERED": "1"}

    def spawn(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, *command], env=self.environment, cwd=ROOT, stdout=log, stderr=log)

    def worker(self, number: int) -> subprocess.Popen[bytes]:
        command = ("-m", "decant.cli", "worker", "bench.chaos_app:WorkerSettings")
        return self.spawn(f"worker{number}", *command)

    # -- what goes wrong -------------------------------------------------------------------------------------------

    def kill_worker(self) -> None:
        """The next one, as soon as it works: on a busy machine it may have begun only now."""
        number = self.counts["kills"] % len(self.workers)
        victim = self.workers[number]
        self.await_start(number)
        victim.kill()
        victim.wait()
        self.begun[number] = self.ready(number)
        self.workers[number] = self.worker(number)
        self.counts["kills"] += 1

    def await_start(self, number: int) -> None:
        """Until a worker works: before that a signal ends it at once."""

        def works() -> bool:
            ended = self.workers[number].poll() is not None
            assert not ended, f"worker {number} ended by itself: {self.log(f'worker{number}')}"
            return self.ready(number) > self.begun[number]

        wait_until(works, f"the start of worker {number}", 60.0)

    def ready(self, number: int) -> int:
        """How often a worker has said that it is ready."""
        return (self.folder / f"worker{number}.log").read_text(errors="replace").count(" is ready: ")

    def flush(self) -> None:
        if self.valkey.process is not None:
            self.valkey.says("FLUSHALL")
            self.counts["flushes"] += 1

    def stop_redis(self) -> None:
        self.valkey.stop()
        self.counts["redis stops"] += 1

    def start_redis(self) -> None:
        self.valkey.start()

    def restart_postgres(self) -> None:
        begun = time.time()
        self.postgres.stop()
        self.postgres.start()
        self.away.append((begun, time.time() + AFTER_S))
        self.counts["postgres restarts"] += 1

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def close(self) -> None:
        for process in (*self.webs, *self.workers):
            if process.poll() is None:
                process.kill()
                process.wait()
        self.valkey.stop()
        self.postgres.close()


def plan(seconds: float) -> list[tuple[float, str]]:
    """What happens when."""
    events = [(float(at), "kill_worker") for at in range(4, int(seconds), 4)]
    events += [(seconds * 0.2, "flush"), (seconds * 0.9, "flush"), (seconds * 0.7, "restart_postgres")]
    events += [(seconds * 0.4, "stop_redis"), (seconds * 0.4 + 3, "start_redis")]
    return sorted(events)


def rage(scene: Scene, seconds: float) -> None:
    """Let it all happen, until the web processes have ended."""
    begun = time.monotonic()
    for at, what in plan(seconds):
        time.sleep(max(0.0, begun + at - time.monotonic()))
        getattr(scene, what)()
    for number, process in enumerate(scene.webs):
        if process.wait(seconds + 60) != 0:
            raise RuntimeError(f"web process {number} failed: {scene.log(f'web{number}')}")


def told(scene: Scene) -> list[dict[str, Any]]:
    """What the web processes wrote."""
    return [json.loads(line) for path in sorted(scene.folder.glob("web*.jsonl")) for line in path.open()]


async def states(url: str, ids: list[str]) -> dict[str, str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT id, state FROM decant_jobs WHERE id = ANY($1::uuid[])", ids)
    finally:
        await connection.close()
    return {str(row["id"]): row["state"] for row in rows}


def settle(scene: Scene, ids: list[str], patience_s: float) -> tuple[dict[str, str], float]:
    """Wait until all have ended, or none has for ``patience_s``; their states, and how long it took."""
    begun = moved = time.monotonic()
    before = -1
    while True:
        found = asyncio.run(states(scene.postgres.url, ids))
        waiting = sum(state not in ENDED for state in found.values())
        if waiting != before:
            before, moved = waiting, time.monotonic()
        if not waiting or time.monotonic() > min(moved + patience_s, begun + LONGEST_S):
            return found, time.monotonic() - begun
        time.sleep(0.2)


async def effects(url: str) -> tuple[dict[str, Counter[str]], int]:
    """By kind, how often each key had its effect; and how many jobs were begun again after a death."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT kind, key, count(*) AS n FROM effect GROUP BY kind, key")
        reruns = await connection.fetchval("SELECT coalesce(sum(deaths), 0) FROM decant_jobs")
    finally:
        await connection.close()
    found: dict[str, Counter[str]] = {kind: Counter() for kind in ("plain", "exact", "threaded")}
    for row in rows:
        found[row["kind"]][row["key"]] = row["n"]
    return found, reruns


@dataclass
class Report:
    """The figures; ``broken`` are the promises that were not kept."""

    figures: dict[str, Any]
    broken: list[str]

    def show(self) -> None:
        for name, value in self.figures.items():
            print(f"{name:<52} {value}")
        for promise in self.broken:
            print(f"BROKEN: {promise}")


def judge(scene: Scene, lines: list[dict[str, Any]], found: dict[str, str], settled_s: float) -> Report:
    accepted = [line for line in lines if "id" in line]
    undone = [line["key"] for line in lines if line["kind"] == "undone"]
    refused = [line for line in lines if "refused" in line]
    away = [line for line in refused if any(line["ended"] >= a and line["begun"] <= b for a, b in scene.away)]
    by_kind, reruns = asyncio.run(effects(scene.postgres.url))
    done = sum(by_kind.values(), Counter())
    calls = sorted(line["ended"] - line["begun"] for line in accepted)
    lost = [line for line in accepted if found.get(line["id"]) not in ENDED]
    failed = [line for line in accepted if found.get(line["id"]) in ENDED and found[line["id"]] != "SUCCESS"]
    missing = [line for line in accepted if found.get(line["id"]) == "SUCCESS" and not done[line["key"]]]
    musts = {
        "refused while PostgreSQL was up": len(refused) - len(away),
        "lost": len(lost),
        "ended otherwise than well": len(failed),
        "ended without its effect": len(missing),
        "run although rolled back": sum(key in done for key in undone),
        "double effects of transaction=True": sum(count > 1 for count in by_kind["exact"].values()),
    }
    twice = sum(count > 1 for kind in ("plain", "threaded") for count in by_kind[kind].values())
    figures = {
        **scene.counts,
        "accepted": len(accepted),
        "  of them joined to a transaction": sum(line["kind"] == "joined" for line in accepted),
        "rolled back": len(undone),
        "refused while PostgreSQL was away": len(away),
        "calls, seconds: p50 / p99 / longest": " / ".join(
            f"{calls[int(len(calls) * share)]:.4f}" for share in (0.5, 0.99, 0.999999)
        ),
        "seconds until all had ended": f"{settled_s:.1f}",
        "begun again after the death of a worker": reruns,
        "double effects of plain tasks (allowed)": twice,
        **musts,
    }
    broken = [f"{name}: {count}" for name, count in musts.items() if count]
    if failing := [line["refused"] for line in refused if line not in away]:
        broken.append(f"for example {failing[0]}")
    return Report(figures, broken)


async def create(url: str) -> None:
    """The tables of the ledger, and of the application."""
    from bench.chaos_app import db
    from decant.tasks.ledger.tables import metadata

    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.run_sync(db.metadata.create_all)
    await engine.dispose()


def run(given: argparse.Namespace, folder: Path) -> Report:
    scene = Scene(Postgres(folder, durable=not given.no_fsync), Valkey(folder), folder)
    try:
        scene.postgres.start()
        scene.valkey.start()
        os.environ.update(scene.environment)
        asyncio.run(create(scene.postgres.url))
        scene.workers = [scene.worker(number) for number in range(given.workers)]
        for number in range(given.webs):
            file = str(folder / f"web{number}.jsonl")
            arguments = (file, str(given.seconds), str(given.rate / given.webs))
            scene.webs.append(scene.spawn(f"web{number}", "bench/chaos_app.py", *arguments))
        rage(scene, given.seconds)
        lines = told(scene)
        found, settled_s = settle(scene, [line["id"] for line in lines if "id" in line], given.patience)
        report = judge(scene, lines, found, settled_s)
        stop(scene, report)
        return report
    finally:
        scene.close()


def stop(scene: Scene, report: Report) -> None:
    """Workers end by themselves when they are told to, and say so with a status of 0."""
    for number, process in enumerate(scene.workers):
        scene.await_start(number)
        process.send_signal(signal.SIGTERM)
    for number, process in enumerate(scene.workers):
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            status = -1
        if status != 0:
            report.broken.append(f"worker {number} ended with {status}: {scene.log(f'worker{number}')}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long jobs are enqueued (8 to 600)")
    parser.add_argument("--webs", type=int, default=2, help="processes that enqueue")
    parser.add_argument("--workers", type=int, default=2, help="processes that work")
    parser.add_argument("--rate", type=float, default=60, help="calls per second, of all together")
    parser.add_argument(
        "--patience", type=float, default=40, help="seconds without a job that ends, after which the others are lost"
    )
    parser.add_argument("--no-fsync", action="store_true", help="PostgreSQL does not sync its files")
    parser.add_argument("--keep", type=Path, help="an empty folder for the servers' files and all logs, which stays")
    given = parser.parse_args()
    if not 8 <= given.seconds <= 600:
        parser.error("--seconds must be from 8 to 600")
    with ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        report = run(given, folder)
    report.show()
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
