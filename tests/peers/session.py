"""One session of pytest over the tests of one extension; ``run`` starts this file.

Without ``--original`` the faces are installed, and the whole session runs in one bridge on one event loop: what is
imported, fixtures and ``unittest`` classes may all wait. The loop's clock is the real one.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Recorder", "main"]

PLUGINS = ("pytest_timeout", "pytest_asyncio.plugin")
OPTIONS = ("-q", "--tb=short", "--timeout=30", "-o", "asyncio_default_fixture_loop_scope=function")
# decant is a plugin of pytest in our environment, and is imported before pytest can rewrite its assertions.
IGNORED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


class Recorder:
    """Notes what became of each test: ``{"test id": ["passed" | "failed" | "skipped", "why"]}``."""

    def __init__(self, report: Path) -> None:
        self.report = report
        self.outcomes: dict[str, tuple[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report.nodeid, report.outcome, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._note(report.nodeid, "failed", report.longrepr)

    def _note(self, test: str, outcome: str, cause: Any) -> None:
        if self.outcomes.get(test, ("passed", ""))[0] == "passed":
            self.outcomes[test] = (outcome, _last_line(cause))

    def pytest_sessionfinish(self) -> None:
        self.report.write_text(json.dumps(self.outcomes))


def _last_line(cause: Any) -> str:
    crash = getattr(cause, "reprcrash", None)
    lines = str(crash.message if crash else cause or "").strip().splitlines()
    return lines[0][:300] if lines else ""


def _as_under_the_shim() -> None:
    """``async def`` views are waited for, as ``decant.flask.asgi`` has it for each application that it serves."""
    from flask import Flask

    from decant.bridge import wait

    def async_to_sync(self: Flask, function: Any) -> Any:
        return functools.wraps(function)(lambda *args, **kwargs: wait(function(*args, **kwargs)))

    Flask.async_to_sync = async_to_sync  # type: ignore[method-assign]


async def _bridged(arguments: list[str], plugins: list[object]) -> int:
    return int(pytest.main(arguments, plugins))


def main() -> int:
    """Run it; the exit status is pytest's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--original", action="store_true", help="the extension itself, without the bridge")
    parser.add_argument("--face", action="append", default=[], help="a module that install() replaces")
    parser.add_argument("--plugin", action="append", default=[])
    parser.add_argument("--report", type=Path, required=True)
    given, rest = parser.parse_known_args()
    named = [part for name in (*PLUGINS, *given.plugin) for part in ("-p", name)]
    arguments, plugins = [*OPTIONS, *IGNORED, *named, *rest], [Recorder(given.report)]
    if given.original:
        return int(pytest.main(arguments, plugins))
    from decant.bridge import bridged
    from decant.flask.installing import install

    install(*given.face)
    _as_under_the_shim()
    return asyncio.run(bridged(_bridged(arguments, plugins)))


if __name__ == "__main__":
    sys.exit(main())
