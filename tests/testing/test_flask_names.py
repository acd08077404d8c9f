"""docs/flask-names.md tells the truth about the installed Flask, Quart and Decant."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "docs" / "tools"
AGAIN = "run docs/tools/flask_names.py with each supported Quart, and commit what it writes"


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        yield import_module("flask_names")
    for name in ("flask_names", "comparison"):
        sys.modules.pop(name, None)


def test_the_page_is_what_the_installed_packages_say(tool: ModuleType) -> None:
    """For the Quart of this environment, looked at anew; the other version's rows are as they were noted."""
    noted = tool.load()
    found = tool.find()
    assert noted.get(tool.quart_version()) == found, AGAIN
    assert tool.PAGE.read_text() == tool.render(noted), AGAIN
    assert tool.dump(noted) == tool.DATA.read_text()


def test_both_supported_versions_of_quart_are_on_the_page(tool: ModuleType) -> None:
    assert list(tool.load()) == ["0.22", "0.23"]


def test_known_facts_are_on_the_page(tool: ModuleType) -> None:
    """A few that are known from the packages' documentation, so that a blind comparison would be noticed."""
    for found in tool.load().values():
        assert found["flask"]["render_template"] == ["awaited", "awaited"]
        assert found["flask"]["url_for"] == ["same", "same"]
        assert found["flask.Request"]["form"] == ["awaited", "awaited"]
        assert found["flask.Request"]["args"] == ["same", "same"]
        assert found["flask.Request"]["environ"] == ["absent", "absent"]
        assert found["flask.Flask"]["app_context"] == ["`async with`", "`async with`"]
        assert found["flask.testing.FlaskClient"]["set_cookie"][1] == "same"
        assert found["flask.testing.FlaskClient"]["set_cookie"][0].startswith("differs")


class _Old:
    number = 1

    def same(self, a: int, b: int = 1) -> None: ...
    def coloured(self) -> None: ...
    def lost(self, a: int, b: int = 1) -> None: ...
    def renamed(self, f: int) -> None: ...
    def needs(self) -> None: ...
    def default(self, a: int = 1) -> None: ...
    def gone(self) -> None: ...
    def kind(self) -> None: ...
    def anything(self, a: int) -> None: ...

    @property
    def computed(self) -> int:
        return 1

    @cached_property
    def cached(self) -> int:
        return 1

    @contextmanager
    def entered(self) -> Any:
        yield


class _New:
    kind = 1
    number = 2

    def same(self, a: int, b: int = 1, c: int = 2) -> None: ...
    async def coloured(self) -> None: ...
    def lost(self, a: int) -> None: ...
    def renamed(self, func: int) -> None: ...
    def needs(self, ctx: int) -> None: ...
    def default(self, a: int = 2) -> None: ...
    def anything(self, *args: int, **kwargs: int) -> None: ...

    @property
    async def computed(self) -> int:
        return 1

    @property
    def cached(self) -> int:
        return 1

    @asynccontextmanager
    async def entered(self) -> Any:
        yield


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("same", "same"),
        ("coloured", "awaited"),
        ("lost", "differs: without `b`"),
        ("renamed", "differs: `f` is called `func`"),
        ("needs", "differs: needs `ctx`"),
        ("default", "differs: `a` is `2`, not `1`"),
        ("gone", "absent"),
        ("kind", "differs: an attribute"),
        ("anything", "same"),
        ("computed", "awaited"),
        ("cached", "same"),
        ("entered", "`async with`"),
        ("number", "differs: `2`, not `1`"),
    ],
)
def test_a_difference_is_seen(tool: ModuleType, name: str, cell: str) -> None:
    """Each kind of difference, on two small classes."""
    comparison = sys.modules["comparison"]
    assert comparison.compare(comparison.Owner(_Old), comparison.Owner(_New), name, name) == cell
