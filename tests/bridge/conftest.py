"""Each test of the bridge that takes ``run`` runs on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    return factory


@pytest.fixture
def run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[Run]:
    """Run a coroutine to its end, on a loop that is closed after the test."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        yield runner.run


@pytest.fixture
def debug_run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[Run]:
    """The same in asyncio's debug mode, where touching the loop from another thread raises."""
    with asyncio.Runner(loop_factory=loop_factory, debug=True) as runner:
        yield runner.run
