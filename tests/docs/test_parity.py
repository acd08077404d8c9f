"""docs/parity.md: which test shows which row of an extension's interface."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(400)  # all tests are collected
def test_every_row_that_must_be_there_is_shown_by_a_test_and_the_page_says_by_which() -> None:
    result = subprocess.run(
        [sys.executable, "docs/tools/parity.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert (result.stderr, result.returncode) == ("", 0)
