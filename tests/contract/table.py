"""The table that ``make contract`` ends with: cases × implementations."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from .running import Implementation

__all__ = ["Table"]

_NAME = re.compile(r"\[(?P<names>.*)\]\Z", re.DOTALL)
_FAILED = "FAILED"


class Table:
    """A pytest plugin that keeps what became of each case."""

    def __init__(self, implementations: Sequence[Implementation]) -> None:
        self._implementations = implementations
        self._results: dict[str, dict[str, str]] = {}
        self._reasons: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        match = _NAME.search(report.nodeid)
        if match is None or (report.when != "call" and report.passed):
            return
        case, _, implementation = match["names"].rpartition("-")
        row = self._results.setdefault(case, {})
        if report.skipped:
            row[implementation] = f"left out ({self._reason(report)})"
        elif row.get(implementation) != _FAILED:
            row[implementation] = "passed" if report.passed else _FAILED

    def _reason(self, report: pytest.TestReport) -> int:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return self._reasons.setdefault(text.removeprefix("Skipped: "), len(self._reasons) + 1)

    @property
    def passed(self) -> int:
        return sum(result == "passed" for row in self._results.values() for result in row.values())

    @property
    def failed(self) -> int:
        return sum(result == _FAILED for row in self._results.values() for result in row.values())

    def text(self) -> str:
        """The table, why something was left out, and ``N passed, N failed``."""
        names = [each.name for each in self._implementations]
        wide = max([len(case) for case in self._results] + [4])
        lines = ["", f"{'case':<{wide}}  " + "  ".join(f"{name:<12}" for name in names), "-" * (wide + 14 * len(names))]
        for case, row in self._results.items():
            lines.append(f"{case:<{wide}}  " + "  ".join(f"{row.get(name, ''):<12}" for name in names).rstrip())
        lines += ["", *(f"{each.name}: {each.about}" for each in self._implementations)]
        lines += [f"({number}) {reason}" for reason, number in self._reasons.items()]
        return "\n".join([*lines, "", f"{self.passed} passed, {self.failed} failed"])
