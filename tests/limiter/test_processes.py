"""Several processes at once: exactly as many requests pass as the limit says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

PROCESSES, REQUESTS, LIMIT = 4, 125, 10


@pytest.fixture(scope="module")
def processes(servers: Any) -> Iterator[list[subprocess.Popen[str]]]:
    """Web processes that are ready."""
    script = Path(__file__).with_name("process.py")
    command = [sys.executable, "-W", "error", str(script), servers.redis_url, str(REQUESTS)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    try:
        assert [_line(process) for process in started] == ["ready"] * PROCESSES
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parity("limiter", "strategy")
@pytest.mark.parity("limiter", "RATELIMIT_STRATEGY")
def test_of_500_requests_at_once_on_4_processes_exactly_10_pass(
    processes: list[subprocess.Popen[str]], redis_url: str, strategy: str
) -> None:
    """And those that are denied by the one limit have not consumed the other."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{strategy}\n")
        process.stdin.flush()
    counts = [tuple(map(int, _line(process).split())) for process in processes]
    assert sum(passed for passed, _ in counts) == LIMIT
    assert sum(denied for _, denied in counts) == PROCESSES * REQUESTS - LIMIT
    with Redis.from_url(redis_url) as redis:
        key = "LIMITS:LIMITER/everybody/global/1000/1/day"
        if strategy == "moving-window":
            assert redis.llen(key) == LIMIT
        else:
            assert redis.get(f"LIMITS:{{{key[7:]}}}" if "sliding" in strategy else key) == b"10"
