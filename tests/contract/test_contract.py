"""What ``examples/shortener/CONTRACT.md`` says: the quick cases in ``make test``, all of them in ``make contract``."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from .cases import Case, World, all_cases
from .selection import chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    selection = chosen()
    cases = [each for each in all_cases() if selection.takes(f"{each.module}: {each.name}", quick=each.quick)]
    metafunc.parametrize("case", cases, ids=[f"{each.module}: {each.name}" for each in cases])
    names = [each.name for each in selection.implementations]
    metafunc.parametrize("running", selection.implementations, ids=names, indirect=True, scope="module")


async def test_what_the_contract_says(running: Any, case: Case) -> None:
    """One case at one implementation."""
    if isinstance(running, AssertionError):
        raise running
    async with AsyncExitStack() as stack:
        await case.run(World(running, stack))
    assert running.ended() == []
