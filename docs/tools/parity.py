"""Write docs/parity.md: the interfaces that the twins keep, row by row, with the tests that show each.

``python docs/tools/parity.py`` writes the page; ``--check`` compares it, and fails on a row that must be there and is
not shown by any test.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "parity.md"
SHOWN = 3
HEAD = """# Parity

What each Flask extension offers, and the tests which show that its twin does: **M** must be there, **S** should. Made
by `docs/tools/parity.py` from the marks of the tests. What differs on purpose is on the page of each twin.
"""


class Marks:
    """A pytest plugin that collects ``@pytest.mark.parity``."""

    def __init__(self) -> None:
        self.tests: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for mark in item.iter_markers("parity"):
                twin, row = mark.args
                self.tests[twin, _plain(row)][item.nodeid.partition("[")[0]] = None


def _plain(row: str) -> str:
    return " ".join(row.replace("`", "").split())


def collect() -> Marks:
    marks = Marks()
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", str(ROOT / "tests")], plugins=[marks])
    if status != 0:
        raise SystemExit(f"the tests cannot be collected:\n{output.getvalue()[-4000:]}")
    return marks


def assign(twin: str, rows: list[dict[str, Any]], marks: Marks) -> tuple[dict[str, list[str]], list[str]]:
    """The tests of each row, and the marks that belong to no row (those of what is beyond S)."""
    tests: dict[str, list[str]] = {row["name"]: [] for row in rows}
    strays = []
    for (marked, text), shown in marks.tests.items():
        if marked != twin:
            continue
        # The longest beginning wins: "default_limits_cost" is not "default_limits".
        begins = [(len(start), row["name"]) for row in rows for start in _starts(row) if text.startswith(start)]
        if begins:
            name = max(begins)[1]
            tests[name].extend(test for test in shown if test not in tests[name])
        else:
            strays.append(text)
    return tests, strays


def _starts(row: dict[str, Any]) -> list[str]:
    return [_plain(start) for start in row.get("starts", [row["name"]])]


def page() -> tuple[str, list[str]]:
    """The page, and the rows marked M that no test shows."""
    marks = collect()
    text, missing = [HEAD], []
    for twin, table in tomllib.loads((HERE / "parity.toml").read_text()).items():
        tests, _ = assign(twin, table["rows"], marks)
        text += [f"\n## {table['title']}\n", "| interface | | shown by |", "|---|---|---|"]
        for row in table["rows"]:
            shown = sorted(tests[row["name"]])
            more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
            listed = "<br>".join(f"`{test}`" for test in shown[:SHOWN]) + more
            text.append(f"| `{row['name']}` | {row['mark']} | {listed or '**missing**'} |")
            if not shown and row["mark"] == "M":
                missing.append(f"{twin}: {row['name']}")
    return "\n".join(text) + "\n", missing


def main() -> int:
    text, missing = page()
    for row in missing:
        print(f"no test shows {row}", file=sys.stderr)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        print("docs/parity.md is not what the tests' marks say: run python docs/tools/parity.py", file=sys.stderr)
        return 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
