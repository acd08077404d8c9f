"""Flask's own tests, those that make requests with ``app.test_client()``, through the ASGI shim in both of its modes.

::

    python -m tests.peers.flask_suite [--views loop] [-- pytest's options]

The source distribution of the installed Flask is downloaded once, by ``tests.peers.download``. Each test runs on plain
Flask and through the shim. What passes there and fails here has to be explained in ``flask_suite.toml``, and what is
explained there has to fail: else the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

from .download import DownloadError, Source, unpacked

__all__ = ["main"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TIMEOUT_S = 600
MODES = ("threads", "loop")
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "tests.peers.flask_through_asgi", "--timeout=30")
Outcomes = dict[str, tuple[str, str]]


def run(suite: Path, mode: str, folder: Path, options: list[str]) -> Outcomes:
    """Run it all once in a copy; gives each test that made a request, whether it passed, and why not."""
    place, report = folder / mode, folder / f"{mode}.json"
    shutil.copytree(suite / "tests", place / "suite")
    shutil.copy(suite / "pyproject.toml", place)
    environment = {
        **os.environ,
        "FLASK_SUITE_VIEWS": mode,
        "FLASK_SUITE_REPORT": str(report),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    }
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-p", "pytest_timeout", *OPTIONS, *options, "suite"]
    done = subprocess.run(
        command, cwd=place, env=environment, check=False, capture_output=not options, text=True, timeout=TIMEOUT_S
    )
    if not report.exists() or not json.loads(report.read_text()):
        raise SystemExit(f"pytest ran no test that makes a request:\n{done.stdout or ''}{done.stderr or ''}")
    found = json.loads(report.read_text())
    return {test.removeprefix("suite/"): (outcome, why) for test, (outcome, why) in found.items()}


def surprises(plain: Outcomes, ours: Outcomes, known: dict[str, str]) -> list[str]:
    """One line for each failure that is not explained, and for each explained one that did not happen."""
    passed = {test for test, (outcome, _) in plain.items() if outcome == "passed"}
    worse = {test for test in passed if ours.get(test, ("", ""))[0] != "passed"}
    lines = [
        f"fails, not explained: {test}: {ours.get(test, ('', 'it made no request'))[1]}" for test in worse - set(known)
    ]
    return sorted(lines + [f"explained, but passes: {test}" for test in (set(known) - worse) & passed])


def main() -> int:
    """Print what passes in each mode; 1 if there was a surprise."""
    parser = argparse.ArgumentParser(description="Flask's own tests through the ASGI shim")
    parser.add_argument("--views", choices=MODES, action="append", help="only this mode")
    parser.add_argument("pytest", nargs="*", help="pytest's options, after --; its output is then shown")
    given = parser.parse_args()
    explained = tomllib.loads((HERE / "flask_suite.toml").read_text())
    installed = version("flask")
    if installed not in explained["sources"]:
        parser.error(
            f"Flask {installed} is installed; flask_suite.toml has the checksums of {list(explained['sources'])}"
        )
    try:
        suite = unpacked(Source("flask", installed, explained["sources"][installed]))
    except DownloadError as error:
        print(error, file=sys.stderr)
        return 1
    figures: dict[str, tuple[int, int]] = {}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="flask-suite-") as folder:
        plain = run(suite, "plain", Path(folder), given.pytest)
        print(f"plain Flask {installed}: {_passed(plain)} of {len(plain)} tests that use test_client pass")
        for mode in given.views or MODES:
            ours = run(suite, mode, Path(folder), given.pytest)
            known = {**explained["both"], **explained[mode]}
            lines = surprises(plain, ours, known)
            print(f"through the shim, views={mode!r}: {_passed(ours)} passed, {len(ours) - _passed(ours)} failed")
            for test in sorted(known):
                print(f"  {test}: {known[test]}")
            for line in lines:
                print(f"  !!! {line}")
            wrong += lines
            figures[f"flask-{mode}"] = (_passed(ours), len(ours))
    print(json.dumps(figures))
    return 1 if wrong else 0


def _passed(outcomes: Outcomes) -> int:
    return sum(outcome == "passed" for outcome, _ in outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
