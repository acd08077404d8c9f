"""Several processes at once: exactly as many requests pass as the limit says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

PROCESSES, REQUESTS, LIMIT = 4, 125, 10


@pytest.mark.parity("limiter", "strategy")
def test_of_500_requests_at_once_on_4_processes_exactly_10_pass(redis_url: str, strategy: str) -> None:
    """And those that are denied by the one limit have not consumed the other."""
    script = Path(__file__).with_name("process.py")
    command = [sys.executable, "-W", "error", str(script), redis_url, strategy, str(REQUESTS)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        for _ in range(PROCESSES)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        counts = [tuple(map(int, process.communicate(timeout=60)[0].split())) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert sum(passed for passed, _ in counts) == LIMIT
    assert sum(denied for _, denied in counts) == PROCESSES * REQUESTS - LIMIT
    with Redis.from_url(redis_url) as redis:
        key = "LIMITS:LIMITER/everybody/global/1000/1/day"
        if strategy == "moving-window":
            assert redis.llen(key) == LIMIT
        else:
            assert redis.get(f"LIMITS:{{{key[7:]}}}" if "sliding" in strategy else key) == b"10"
