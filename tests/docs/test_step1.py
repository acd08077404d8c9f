"""What docs/porting.md and the contract's table say of examples/shortener/step1: which routes are Quart's."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.contract.implementations import EXAMPLE, IMPLEMENTATIONS, ROOT

_SHOWN = re.compile(r"\$ decant routes step1\.asgi:app\n(?P<lines>.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def routes() -> list[str]:
    """The lines of ``decant routes``; with faces, since the team's own extensions are not installed here."""
    command = [sys.executable, "-m", "decant.cli", "routes", "--faces", "step1.asgi:app"]
    settings = {"SECRET_KEY": "for tests", "DATABASE_URL": "postgresql://localhost/nothing"}
    done = subprocess.run(
        command, cwd=EXAMPLE, env={**os.environ, **settings}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_guide_shows_what_decant_routes_says(routes: list[str]) -> None:
    shown = _SHOWN.search((ROOT / "docs" / "porting.md").read_text())
    assert shown is not None
    lines = [line for line in shown["lines"].splitlines() if line != "…"]
    assert len(lines) > 2
    assert [line for line in lines if line not in routes] == []
    assert lines[-1] == routes[-1]


def test_so_many_routes_are_quarts(routes: list[str]) -> None:
    """More than half of them; the guide, the example's README and the contract's table say how many."""
    said = re.fullmatch(r"(\d+) of (\d+) routes still answered by Flask", routes[-1])
    assert said is not None
    left, total = map(int, said.groups())
    moved = sum(" quart " in line and "hidden by quart" not in line for line in routes)
    assert moved == total - left > total / 2
    (about,) = (each.about for each in IMPLEMENTATIONS if each.name == "mounted")
    assert f"{moved} of {total} routes are Quart's" in about
    for page in (ROOT / "docs" / "porting.md", EXAMPLE / "README.md"):
        assert f"{moved} of its {total} routes" in page.read_text(), page


def test_what_has_moved_has_kept_its_name(routes: list[str]) -> None:
    """So that url_for() in templates finds it: methods, rule and endpoint are those of a rule of Flask's."""
    rows = [re.split(r"\s{2,}", line) for line in routes[1:-1]]
    moved = {tuple(row[:3]) for row in rows if row[3] == "quart"}
    hidden = {tuple(row[:3]) for row in rows if row[3] == "flask, hidden by quart"}
    assert moved == hidden
