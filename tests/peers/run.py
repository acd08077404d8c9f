"""``make peers``: the extensions' own tests, unmodified, with our faces in place of the extensions; then Flask's own,
through the shim.

::

    python -m tests.peers.run [--originals] [--only flask-cors] [-- pytest's options]

One file for each suite (``flask_*.toml``) says where the tests come from, and which of them fail for which reason. A
failure that is not explained there ends it with the exit status 1, and so does an explained test that passes.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .download import DownloadError, Source, install, unpacked
from .servers import running

__all__ = ["Suite", "main", "surprises"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUITES = ("flask_caching", "flask_cors", "flask_sqlalchemy", "flask_cdn")
TIMEOUT_S = 900
FAILS = "fails, not explained"
Outcomes = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Suite:
    """One extension's tests.

    :param copied: what of the source distribution the tests need: they run in a copy.
    :param original: the folder in it that the original is imported from.
    :param plugins: of pytest, which the suite needs; ``face_plugins``: which our faces need to follow it.
    :param ignored_warnings: beginnings of warnings of ours, which its ``filterwarnings = error`` would make errors.
    :param explained: by a test's id, with parameters or without: why it fails.
    """

    name: str
    source: Source
    face: str
    copied: tuple[str, ...]
    original: str
    servers: tuple[str, ...]
    plugins: tuple[str, ...]
    face_plugins: tuple[str, ...]
    ignored_warnings: tuple[str, ...]
    explained: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> Suite:
        found = tomllib.loads(path.read_text())
        suite = found["suite"]
        return cls(
            path.stem.replace("_", "-"),
            Source(**found["source"]),
            suite["face"],
            tuple(suite["copied"]),
            suite["original"],
            tuple(suite.get("servers", ())),
            tuple(suite.get("plugins", ())),
            tuple(suite.get("face_plugins", ())),
            tuple(suite.get("ignored_warnings", ())),
            found.get("explained", {}),
        )


def run(suite: Suite, folder: Path, original: bool, options: list[str]) -> Outcomes:
    """Run it once, in a copy of its tests below ``folder``."""
    source = unpacked(suite.source)
    place = Path(tempfile.mkdtemp(prefix=f"{suite.name}-", dir=folder))
    for name in suite.copied:
        _copy(source / name, place / name)
    paths = [ROOT / "src", install(HERE / "requirements.txt"), *_memcached(), place]
    report = place.with_suffix(".json")
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(map(str, [source / suite.original, *paths] if original else paths)),
    }
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        _command(suite, report, original, options),
        cwd=place,
        env=environment,
        check=False,
        capture_output=not options,
        text=True,
        timeout=TIMEOUT_S,
    )
    if not report.exists():
        said = f"{done.stdout or ''}{done.stderr or ''}"
        raise SystemExit(f"pytest left no report of {suite.name}:\n{said[-4000:]}")
    return {test: (outcome, why) for test, (outcome, why) in json.loads(report.read_text()).items()}


def _command(suite: Suite, report: Path, original: bool, options: list[str]) -> list[str]:
    # By its path: the suites' folders are called "tests", too.
    command = [sys.executable, str(HERE / "session.py"), f"--report={report}"]
    command += ["--original"] if original else [f"--face={suite.face}"]
    command += [f"--plugin={name}" for name in (*suite.plugins, *(() if original else suite.face_plugins))]
    command += [part for warning in suite.ignored_warnings for part in ("-W", f"ignore:{warning}")]
    return [*command, *options, "tests"]


def _copy(source: Path, place: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, place)
    else:
        shutil.copy(source, place)


def _memcached() -> list[Path]:
    try:
        return [install(HERE / "memcached.txt")]
    except DownloadError:
        return []


def counted(outcomes: Outcomes) -> tuple[int, int]:
    """How many passed, and how many ran: what was skipped does not count."""
    ran = [outcome for outcome, _ in outcomes.values() if outcome != "skipped"]
    return ran.count("passed"), len(ran)


def reason_of(test: str, explained: dict[str, str]) -> str | None:
    """Why a test fails, as the suite's file says; None if it does not."""
    return explained.get(test) or explained.get(test.partition("[")[0])


def surprises(outcomes: Outcomes, explained: dict[str, str]) -> list[str]:
    """One line for each failure that is not explained, and for each explained one that did not happen."""
    failed = {test for test, (outcome, _) in outcomes.items() if outcome == "failed"}
    lines = [f"{FAILS}: {test}: {outcomes[test][1]}" for test in failed if not reason_of(test, explained)]
    for key in explained:
        meant = {test for test in outcomes if key in (test, test.partition("[")[0])}
        lines += [f"explained, but passes: {test}" for test in meant - failed if outcomes[test][0] == "passed"]
        lines += [] if meant else [f"explained, but there is no such test: {key}"]
    return sorted(lines)


def report(suite: Suite, ours: Outcomes, originals: Outcomes | None) -> list[str]:
    """Print one suite's part; gives its surprises."""
    passed, total = counted(ours)
    beside = ""
    if originals is not None:
        beside = " (the original: {} of {})".format(*counted(originals))
    print(f"{suite.name} [{suite.source}]: {passed} passed, {total - passed} failed of {total}{beside}")
    for test, (outcome, why) in ours.items():
        if outcome == "failed":
            also = "; the original fails, too" if originals and originals.get(test, ("",))[0] == "failed" else ""
            print(f"  {test}: {reason_of(test, suite.explained) or f'NOT EXPLAINED: {why}'}{also}")
    lines = surprises(ours, suite.explained)
    for line in lines:
        if not line.startswith(FAILS):  # that one is above
            print(f"  {line}")
    return lines


def run_flask_suite() -> tuple[dict[str, Any], bool]:
    """Flask's own tests through the shim: their figures, and whether all was as explained."""
    command = [sys.executable, "-m", "tests.peers.flask_suite"]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True, timeout=2 * TIMEOUT_S)
    *lines, figures = done.stdout.strip().splitlines() or [""]
    if not figures.startswith("{"):
        print(done.stdout)
        return {}, False
    print(*lines, sep="\n")
    return json.loads(figures), done.returncode == 0


def run_extensions(suites: list[Suite], given: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Run these suites, on the servers that they need; their figures and surprises."""
    found: dict[str, Any] = {}
    wrong: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="peers-") as folder,
        running(sorted({name for suite in suites for name in suite.servers}), Path(folder)) as missing,
    ):
        for name in missing:
            print(f"{name} is not installed: the tests that need it are skipped")
        for suite in suites:
            originals = run(suite, Path(folder), True, given.pytest) if given.originals else None
            ours = run(suite, Path(folder), False, given.pytest)
            wrong += report(suite, ours, originals)
            found[suite.name] = counted(ours)
    return found, wrong


def main() -> int:
    """Run all suites, and Flask's own; 1 if one had a surprise."""
    suites = {suite.name: suite for suite in (Suite.load(HERE / f"{name}.toml") for name in SUITES)}
    parser = argparse.ArgumentParser(description="The extensions' own tests on our faces")
    parser.add_argument("--originals", action="store_true", help="run the originals as well, and compare")
    parser.add_argument("--only", action="append", choices=suites, help="this suite (again for more)")
    parser.add_argument("pytest", nargs="*", help="pytest's options, after --; its output is then shown")
    given = parser.parse_args()
    try:
        found, wrong = run_extensions([suites[name] for name in given.only or suites], given)
    except DownloadError as error:
        print(error, file=sys.stderr)
        return 1
    if not given.only:
        figures, as_explained = run_flask_suite()
        found |= figures
        wrong += [] if as_explained else ["Flask's own tests"]
    print(json.dumps(found))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
