"""docs/application.md: its settings are those of the application, its examples are calls that the API describes."""

from __future__ import annotations

import re
from pathlib import Path

from app.config import Settings

from .conftest import Description

PAGE = Path(__file__).parents[3] / "docs" / "application.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_settings_are_all_there_with_their_defaults() -> None:
    """In the order of ``Settings``; no default where the application decides."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (?:`([^`]*)`)? ?\| .+ \|$", TEXT, re.MULTILINE)
    fields = Settings.model_fields.items()
    assert rows == [(name, "" if field.default is None else str(field.default)) for name, field in fields]


async def test_the_examples_call_what_there_is(description: Description) -> None:
    """Each ``curl`` has a method and a path of the API; together they call every operation but one's own link."""
    called = set()
    for command in re.findall(r"^\$ curl (.*?)(?=^\$|^\{|^```)", TEXT, re.MULTILINE | re.DOTALL):
        path = re.search(r"\$SITE(/[^\s\"?]+)", command)
        assert path, command
        given = re.search(r"-X (\w+)", command)
        method = given[1] if given else "POST" if re.search("--json|--data", command) else "GET"
        known = next(methods for pattern, methods in description.paths if pattern.fullmatch(path[1]))
        assert method.lower() in known, command
        called.add(known[method.lower()]["operationId"])
    every = {found["operationId"] for methods in description.document["paths"].values() for found in methods.values()}
    assert called == every - {"read_link"}
