"""The Python of the README and of docs/*.md runs as it stands there.

That of docs/testing.md is run by tests/testing/test_plugin.py.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader

from decant.bridge import bridged
from decant.embedded import postgresql
from decant.errors import SessionInUse

ROOT = Path(__file__).parents[2]
_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^( *)```python\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
BLOCKS = {
    str(page.relative_to(ROOT)): [textwrap.dedent(found[2]) for found in _FENCED.finditer(page.read_text())]
    for page in _PAGES
}


def compiled(page: str, number: int, code: str | None = None) -> types.CodeType:
    """A block of a page, where ``await`` may stand at the top."""
    source = BLOCKS[page][number] if code is None else code
    made: types.CodeType = compile(source, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return made


async def run(page: str, number: int, names: dict[str, Any], *, changed: tuple[str, str] = ("", "")) -> dict[str, Any]:
    """Run a block among ``names``, with a text of it changed."""
    code = BLOCKS[page][number]
    assert changed[0] in code
    code = code.replace(*changed) if changed[0] else code
    # In a thread, as modules are imported before there is a loop; what it awaits is awaited here.
    result = await asyncio.to_thread(eval, compiled(page, number, code), names)
    if inspect.iscoroutine(result):
        await result
    return names


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_python_on_a_page_is_python(page: str) -> None:
    for number in range(len(BLOCKS[page])):
        compiled(page, number)


async def test_the_bridge() -> None:
    """docs/bridge.md: a plain function waits; child tasks are bridged by name."""

    async def price(item: int) -> int:
        await asyncio.sleep(0)
        return item * 2

    async def report(number: int) -> int:
        return int(names["total"]([number]))

    names = await run("docs/bridge.md", 0, {"price": price, "report": report, "asyncio": asyncio})
    await run("docs/bridge.md", 1, names)
    await run("docs/bridge.md", 2, names)
    assert (names["a"], names["b"]) == (2, 4)

    async def called() -> int:
        return int(names["total"]([1, 2]))

    assert await bridged(called()) == 6


async def test_the_database(database_url: str) -> None:
    """docs/database.md: the model, the view with its lazy load, and which session is whose."""
    url = ("postgresql://localhost/blog", database_url)
    names = await run("docs/database.md", 0, {"__name__": "blog"}, changed=url)
    app, db = names["app"], names["db"]
    client = await asyncio.to_thread(app.test_client)
    async with app.test_app(), app.app_context():
        await db.create_all()
        db.session.add(names["User"](name="ada", posts=[names["Post"](title="Notes")]))
        await db.session.commit()
        response = await client.get("/users/1")
        assert await response.get_json() == {"name": "ada", "posts": ["Notes"]}

        async def count() -> int:
            return int(await db.session.scalar(db.select(db.func.count()).select_from(names["User"])))

        statement = db.select(names["User"])
        names |= {"asyncio": asyncio, "count_users": count, "count_posts": count, "a": statement, "b": statement}
        second = "asyncio.gather(db.session.execute(a), db.session.execute(b)"
        await run(
            "docs/database.md", 1, names, changed=(f"await {second}", f"both = await {second}, return_exceptions=True")
        )
        assert any(isinstance(outcome, SessionInUse) for outcome in names["both"])


async def test_redis(redis_url: str) -> None:
    """docs/redis.md: the view counts."""
    url = ("redis://localhost:6379/0", redis_url)
    names = await run("docs/redis.md", 0, {"__name__": "hits"}, changed=url)
    client = await asyncio.to_thread(names["app"].test_client)
    async with names["app"].test_app():
        assert [(await (await client.get("/hits")).get_json())["hits"] for _ in range(2)] == [1, 2]


async def test_the_readme(database_url: str) -> None:
    """README.md: the view renders a template that loads lazily."""
    url = ("postgresql://localhost/shop", database_url)
    names = await run("README.md", 0, {"__name__": "shop"}, changed=url)
    app, db = names["app"], names["db"]
    app.jinja_env.loader = DictLoader({"user.html": "{% for link in user.links %}{{ link.slug }}{% endfor %}"})
    client = await asyncio.to_thread(app.test_client)

    class User(db.Model):  # type: ignore[misc, name-defined]
        id = db.Column(db.Integer, primary_key=True)
        links = db.relationship("Link")

    class Link(db.Model):  # type: ignore[misc, name-defined]
        slug = db.Column(db.String, primary_key=True)
        user_id = db.Column(db.ForeignKey(User.id))

    names["User"] = User
    async with app.test_app(), app.app_context():
        await db.create_all()
        db.session.add(User(id=1, links=[Link(slug="glass")]))
        await db.session.commit()
        assert await (await client.get("/users/1")).get_data(as_text=True) == "glass"
        assert (await client.get("/users/2")).status_code == 404


async def test_the_imports_of_quart() -> None:
    """docs/quart.md: each of the names is there."""
    names = await run("docs/quart.md", 0, {})
    assert callable(names["send_file"])


def test_the_embedded_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/cli.md: both run while the block runs, in .data of the working directory."""
    monkeypatch.chdir(tmp_path)
    eval(compiled("docs/cli.md", 0), {})
    assert capsys.readouterr().out.startswith("postgresql://")
    with postgresql(tmp_path / ".data") as kept:
        assert kept.folder.data.is_dir()
