"""The fixtures of the pytest plugin, made to fit the run; see :mod:`decant.testing.plugin`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

__all__ = ["make"]

_NO_APP = (
    "the fixture {name!r} of decant.testing needs a fixture 'app' of yours that returns the application, for example"
    " in conftest.py:\n\n    @pytest.fixture\n    def app():\n        return create_app({{'TESTING': True}})\n"
)


def make(*, awaited: bool) -> dict[str, Any]:
    """The fixtures by name; with ``awaited``, ``app_context`` is pytest-asyncio's, on the loop of the test."""
    made: dict[str, Any] = {"decant_app": decant_app, "client": client, "runner": runner}
    if awaited:
        import pytest_asyncio

        return made | {"app_context": pytest_asyncio.fixture(_awaited_context, name="app_context")}
    return made | {"app_context": pytest.fixture(_waited_context, name="app_context")}


@pytest.fixture
def decant_app(request: pytest.FixtureRequest) -> Any:
    """The user's ``app``."""
    try:
        return request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        if error.argname != "app":
            raise
    wanted = next((name for name in ("client", "runner", "app_context") if name in request.fixturenames), "decant_app")
    pytest.fail(_NO_APP.format(name=wanted), pytrace=False)


@pytest.fixture
def client(decant_app: Any) -> Any:
    """A test client of ``app``, with Flask's keyword arguments."""
    quart = sys.modules.get("quart.testing")
    if quart is not None and getattr(decant_app, "test_client_class", None) is quart.QuartClient:
        from .client import Client

        return Client(decant_app)
    return decant_app.test_client()


@pytest.fixture
def runner(decant_app: Any) -> Any:
    """Runs the commands of ``app``."""
    quart = sys.modules.get("quart.testing")
    if quart is not None and getattr(decant_app, "test_cli_runner_class", None) is quart.QuartCliRunner:
        from .commands import CliRunner

        return CliRunner(decant_app)
    return decant_app.test_cli_runner()


async def _awaited_context(decant_app: Any) -> AsyncIterator[Any]:
    """The application context of ``app``, current during the test."""
    context = decant_app.app_context()
    if hasattr(context, "__aenter__"):
        async with context:
            yield context
    else:
        with context:
            yield context


def _waited_context(decant_app: Any) -> Iterator[Any]:
    """The application context of ``app``, current during the test."""
    context = decant_app.app_context()
    if not hasattr(context, "__aenter__"):
        with context:
            yield context
        return
    from ..bridge import wait
    from .contexts import Kept

    kept = Kept([context])
    wait(kept.begin())
    try:
        yield context
    finally:
        wait(kept.end())
