"""The pytest plugin: asynchronous tests run in a bridge, and fixtures for a Quart application.

pytest loads it wherever Decant is installed. It imports neither Decant nor Quart, and changes nothing, until a test
run imports :mod:`decant.bridge` or asks for one of its fixtures. Where :mod:`decant.quart` has been imported, the test
client is, too, before the test runs: on its event loop the import would block.

**Bridged tests.** Each ``async def`` test and fixture that pytest-asyncio runs is run by
:func:`decant.bridge.bridged`, so that lazy loads and :func:`decant.wait` work in it, as in a request. So are the
``async def`` methods of ``unittest.IsolatedAsyncioTestCase``: tests, ``asyncSetUp`` and ``asyncTearDown``. Child tasks
(``gather``, ``create_task``) are bridged only where they say so, as in a request.

**Fixtures.** They need a fixture ``app`` of yours, sync or async, that gives the application:

``client``
    ``app.test_client()``; where that would be Quart's own, a :class:`decant.testing.Client`.
``runner``
    ``app.test_cli_runner()``; where that would be Quart's own, a :class:`decant.testing.CliRunner`.
``app_context``
    the application's context, current during the test.

A fixture of the same name in a ``conftest.py``, a test module or another plugin (pytest-flask, pytest-django) goes
before these. Without pytest-asyncio they serve synchronous tests, which ``wait()`` for what they call.

**Options** (in ``[tool.pytest.ini_options]``):

``decant_bridge``
    ``"auto"``, the default: bridge tests once ``decant.bridge`` has been imported; ``"on"``: always; ``"off"``: never.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Generator
from functools import wraps
from types import MethodType, ModuleType
from typing import Any

import pytest

from . import fixtures

__all__ = [
    "Bridging",
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_configure",
    "pytest_runtest_call",
]

Function = Callable[..., Any]
_CHOICES = ("auto", "on", "off")
_FIXTURES = ("client", "runner", "app_context")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("decant_bridge", 'run async tests and fixtures in a bridge: "auto", "on" or "off"', default="auto")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    choice = config.getini("decant_bridge")
    if choice not in _CHOICES:
        raise pytest.UsageError(f'decant_bridge = {choice!r} is not valid: it is "auto", "on" or "off"')
    if choice != "off":
        config.pluginmanager.register(Bridging(always=choice == "on"), "decant-bridge")
    config.pluginmanager.register(_offered(config), "decant-fixtures")


def pytest_collection_finish(session: pytest.Session) -> None:
    _import_client()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    _import_client()  # where a fixture was what imported the application


def _import_client() -> None:
    """Import what ``app.test_client()`` would on the event loop, where it reads files and blocks."""
    if "decant.quart" in sys.modules and "decant.testing.client" not in sys.modules:
        from . import client, commands  # noqa: F401


def _offered(config: pytest.Config) -> ModuleType:
    """A plugin with those of our fixtures that no other plugin has."""
    offered = ModuleType("decant-fixtures", "Fixtures for a Quart application.")
    others = config.pluginmanager.get_plugins()
    asyncio_plugin = sys.modules.get("pytest_asyncio.plugin")
    taken = {name for plugin in others for name in _FIXTURES if _is_fixture(getattr(plugin, name, None))}
    made = fixtures.make(awaited=asyncio_plugin in others)
    for name, fixture in made.items():
        if name not in taken:
            setattr(offered, name, fixture)
    return offered


def _is_fixture(value: object) -> bool:
    # pytest 8.4 and later; before
    return type(value).__name__ == "FixtureFunctionDefinition" or hasattr(value, "_pytestfixturefunction")


class Bridging:
    """Replaces coroutine functions by bridged ones for as long as pytest, or a plugin of its, runs them."""

    def __init__(self, *, always: bool = False) -> None:
        self.always = always

    @property
    def active(self) -> bool:
        return self.always or "decant.bridge" in sys.modules

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        wrapped = _wrapped(fixturedef.func) if self.active else None
        if wrapped is None:
            return (yield)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fixturedef, "func", wrapped)
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        if not self.active or not isinstance(item, pytest.Function):
            return (yield)
        with pytest.MonkeyPatch.context() as patch:
            # What Hypothesis runs for each example is an attribute of the test.
            inner = getattr(item.obj, "hypothesis", None)
            _patch(patch, *((inner, "inner_test") if inner is not None else (item, "obj")))
            if issubclass(item.cls or object, _unittests()):
                for name in ("asyncSetUp", "asyncTearDown", item.name):
                    _patch(patch, item.instance, name)
            return (yield)


def _unittests() -> Any:
    unittest = sys.modules.get("unittest")
    return unittest.IsolatedAsyncioTestCase if unittest is not None else ()


def _patch(patch: pytest.MonkeyPatch, target: Any, name: str) -> None:
    wrapped = _wrapped(getattr(target, name))
    if wrapped is not None:
        patch.setattr(target, name, wrapped)


def _wrapped(function: Any) -> Any:
    """The bridged form of a coroutine function or an asynchronous generator function; ``None`` for others."""
    if isinstance(function, MethodType):
        wrapped = _wrapped(function.__func__)
        return wrapped and MethodType(wrapped, function.__self__)
    if inspect.iscoroutinefunction(function):
        return _bridged_coroutine(function)
    if inspect.isasyncgenfunction(function):
        return _bridged_generator(function)
    return None


def _on_asyncio() -> bool:
    """Whether the caller is run by asyncio, not by Trio."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _bridged_coroutine(function: Function) -> Function:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        from ..bridge import bridged

        __tracebackhide__ = True
        steps = function(*args, **kwargs)
        return await (bridged(steps) if _on_asyncio() else steps)

    return wrapper


def _bridged_generator(function: Function) -> Function:
    """Each step in a bridge of its own, for each may be taken by another task."""

    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        from ..bridge import bridged

        __tracebackhide__ = True
        steps = function(*args, **kwargs)
        try:
            while True:
                try:
                    value = await (bridged(anext(steps)) if _on_asyncio() else anext(steps))
                except StopAsyncIteration:
                    return
                yield value
        finally:
            await (bridged(steps.aclose()) if _on_asyncio() else steps.aclose())

    return wrapper
