"""Small programs in processes of their own: what ``install()`` replaces must not be imported before."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

__all__ = ["ROOT", "run_program"]

ROOT = Path(__file__).parent.parent.parent


def run_program(source: str, *arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run a program of Python; its output. It must succeed, within 100 seconds."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
