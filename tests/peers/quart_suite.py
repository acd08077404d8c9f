"""Run Quart's own tests with ``decant.Quart`` in place of Quart's class, and compare with plain Quart.

::

    git clone --branch 0.22.0 https://github.com/pallets/quart   # its releases on PyPI come without the tests
    python -m tests.peers.quart_suite quart

Each test runs on plain Quart and on ours, with ``FLASK_COMPAT`` on and off. What passes there and fails here has to be
explained in ``quart_suite.toml``, and what is explained there has to fail: else the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
OPTIONS = [
    *("-q", "-p", "no:decant", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--timeout=8"),
    "--continue-on-collection-errors",
    *(
        "-o",
        "asyncio_mode=auto",
        "-o",
        "asyncio_default_fixture_loop_scope=session",
        "-o",
        "filterwarnings=",
        "-o",
        "addopts=",
    ),
]


def run(suite: Path, mode: str, report: Path) -> dict[str, bool]:
    """Run it all once; gives whether each test passed."""
    plugin = [] if mode == "plain" else ["-p", "tests.peers.substitute"]
    environment = {
        **os.environ,
        "QUART_SUITE_COMPAT": "0" if mode == "off" else "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parents[1] / "src")]),
    }
    command = [sys.executable, "-m", "pytest", *OPTIONS, *plugin, f"--junitxml={report}", "--rootdir", ".", "tests"]
    subprocess.run(command, cwd=suite, env=environment, check=False, capture_output=True, timeout=600)
    if not report.exists():
        raise SystemExit(f"pytest left no report: run {' '.join(command)} in {suite}")
    return {
        f"{case.get('classname', '').removeprefix('tests.')}::{case.get('name')}": case.find("failure") is None
        and case.find("error") is None
        for case in ElementTree.parse(report).iter("testcase")
    }


def unexplained(plain: dict[str, bool], ours: dict[str, bool], known: dict[str, str]) -> list[str]:
    """One line for each surprise."""
    worse = {name for name, passed in plain.items() if passed and not ours.get(name, False)}
    lines = [f"fails, not explained: {name}" for name in sorted(worse - known.keys())]
    return lines + [f"explained, but passes: {name}" for name in sorted(known.keys() - worse) if plain.get(name)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Quart's own tests on decant.Quart")
    parser.add_argument("suite", type=Path, help="a checkout of Quart, at the installed version's tag")
    suite = parser.parse_args().suite
    if not (suite / "tests" / "test_app.py").is_file():
        parser.error(f"{suite} has no tests/test_app.py: give a git checkout of Quart")
    explained = tomllib.loads((HERE / "quart_suite.toml").read_text())
    surprises = 0
    with tempfile.TemporaryDirectory() as reports:
        plain = run(suite, "plain", Path(reports, "plain.xml"))
        print(f"plain Quart: {sum(plain.values())} of {len(plain)} pass")
        for mode in ("on", "off"):
            ours = run(suite, mode, Path(reports, f"{mode}.xml"))
            lines = unexplained(plain, ours, {**explained["both"], **explained[mode]})
            print(f"decant.Quart, FLASK_COMPAT {mode}: {sum(ours.values())} of {len(ours)} pass", *lines, sep="\n  ")
            surprises += len(lines)
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
