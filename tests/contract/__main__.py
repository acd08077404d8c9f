"""``make contract``: every case at every implementation, as a table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from .implementations import IMPLEMENTATIONS
from .running import Implementation
from .selection import Selection, set_chosen
from .table import Table

_HERE = Path(__file__).parent


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    names = [each.name for each in IMPLEMENTATIONS]
    parser = argparse.ArgumentParser(prog="python -m tests.contract", description=__doc__)
    parser.add_argument("-i", "--implementations", help=f"which of {', '.join(names)}, with commas between them")
    parser.add_argument(
        "-k",
        "--cases",
        action="append",
        default=[],
        metavar="WORD",
        help="cases with this in 'module: name'; may be repeated",
    )
    parser.add_argument("-q", "--quick", action="store_true", help="only the cases that are in make test")
    parser.add_argument("-x", "--exitfirst", action="store_true", help="stop at the first failure")
    parser.add_argument("--logs", type=Path, help="keep what the processes write in this folder")
    parser.add_argument("-l", "--list", action="store_true", help="only list the implementations and the cases")
    arguments = parser.parse_args(given)
    wanted = arguments.implementations.split(",") if arguments.implementations else names
    if unknown := set(wanted) - set(names):
        parser.error(f"there is no implementation {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    arguments.implementations = [each for each in IMPLEMENTATIONS if each.name in wanted]
    return arguments


def _list(implementations: Sequence[Implementation], selection: Selection) -> None:
    from .cases import all_cases

    for implementation in implementations:
        print(f"{implementation.name:<10} {implementation.about}")
    for case in all_cases():
        title = f"{case.module}: {case.name}"
        if selection.takes(title, quick=case.quick):
            print(f"  {title}{' (quick)' if case.quick else ''}")


def main(given: Sequence[str]) -> int:
    arguments = _arguments(given)
    selection = Selection(arguments.implementations, arguments.cases, arguments.quick, arguments.logs)
    if arguments.list:
        _list(arguments.implementations, selection)
        return 0
    set_chosen(selection)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended
    os.chdir(_HERE.parents[1])
    table = Table(arguments.implementations)
    options = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist", "-r", "N"]
    status = pytest.main([*options, *(["-x"] if arguments.exitfirst else []), str(_HERE)], plugins=[table])
    print(table.text())
    return int(bool(status or table.failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
