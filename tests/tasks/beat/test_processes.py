"""Several processes with the same schedule, some of which are killed: no tick is missed, none runs twice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from decant.tasks.codec import decode_envelope
from tests.ledgers import cut_off_others

from .ticking import EVERY_S

PROGRAM = Path(__file__).with_name("ticking.py")


@pytest.fixture
def spawn(ledger_url: str, redis_url: str) -> Any:
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen([sys.executable, PROGRAM, ledger_url, redis_url]))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.timeout(240)
def test_every_tick_runs_once_while_processes_are_killed(spawn: Any, ledger_url: str) -> None:
    with psycopg.connect(ledger_url, autocommit=True) as connection:

        def runs() -> int:
            (found,) = connection.execute("SELECT coalesce(sum(runs), 0) FROM decant_schedule").fetchone() or (0,)
            return int(found)

        running = [spawn(), spawn()]
        for _ in range(4):
            before = runs()
            until(lambda before=before: runs() >= before + 3)  # type: ignore[misc]
            victim = running.pop(0)
            victim.kill()
            victim.wait()
            running.append(spawn())
        until(lambda: runs() >= 40)
        for process in running:
            process.kill()
            process.wait()
        cut_off_others(connection)  # the server may still be committing what they had sent
        payloads = connection.execute("SELECT payload FROM decant_jobs").fetchall()
        counted = runs()
    ticks = sorted(decode_envelope(payload).headers["scheduled_for"] for (payload,) in payloads)
    assert len(ticks) == counted
    assert {later - earlier for earlier, later in pairwise(ticks)} == {timedelta(seconds=EVERY_S)}
