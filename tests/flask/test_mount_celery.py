"""Both halves enqueue to a team's Celery: the real one, with a worker, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers.download import DownloadError, install
from tests.valkey import running

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def celery_path() -> str:
    """The folder that Celery is installed in, outside of the tree."""
    try:
        return str(install(HERE / "celery.txt"))
    except DownloadError as error:
        pytest.skip(f"NOT TESTED: enqueueing to Celery, which cannot be had: {error}")


@pytest.mark.slow
def test_both_halves_enqueue_to_celery_and_its_silence_holds_nobody_up(celery_path: str, tmp_path: Path) -> None:
    """The snippet of docs/mount.md. A broker that does not answer costs 503 after the deadline, never the loop."""
    with running(tmp_path) as server:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([celery_path, str(ROOT / "src")]),
            "REDIS_URL": server.url,
        }
        run = subprocess.run(
            [sys.executable, HERE / "celery_halves.py", str(server.process.pid)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
        )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    assert found["results"] == [3, 3]
    assert found["statuses"] == [503]
    assert found["refused"] == 503
    assert found["seconds"] < 12  # each needs 5 without a deadline, and 8 at once have a thread
    assert found["gap"] < 2
