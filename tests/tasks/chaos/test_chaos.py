"""The benchmark of chaos, at a small scale: one web process, two workers, and everything fails once or twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(450)
def test_nothing_that_was_accepted_is_lost_while_everything_fails(tmp_path: Path) -> None:
    options = (
        "--seconds",
        "10",
        "--webs",
        "1",
        "--workers",
        "2",
        "--rate",
        "40",
        "--no-fsync",
        "--keep",
        str(tmp_path),
    )
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "chaos.py", *options], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    figures = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines() if " / " not in line)
    assert int(figures["accepted"]) > 50
    assert int(figures["kills"]) == 2
    assert (figures["flushes"], figures["redis stops"], figures["postgres restarts"]) == ("2", "1", "1")
    assert (figures["lost"], figures["double effects of transaction=True"]) == ("0", "0")
