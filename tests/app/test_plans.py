"""No page reads a whole table: the statements that the pages really run, explained on 100,000 links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from app.extensions import db
from decant import Quart

from .conftest import PASSWORD, Make, Person, copy_of

# Two thousand owners: "user1" has 5,000 links, the others about fifty each.
FILL = """
INSERT INTO users (username, password_hash) SELECT 'user' || n, 'x' FROM generate_series(1, 2000) n;
INSERT INTO api_tokens (owner_id, name, hint, digest)
    SELECT 1 + n % 2000, 'token', 'dct_', decode(md5(n::text) || md5(n::text), 'hex') FROM generate_series(1, 6000) n;
INSERT INTO links (owner_id, slug, target, title, visits)
    SELECT CASE WHEN n % 20 = 0 THEN 1 ELSE 1 + n % 2000 END, 's' || md5(n::text),
        'https://site' || n % 977 || '.example/' || md5((n * 7)::text), 'Title ' || n % 3001, n % 100
    FROM generate_series(1, 100000) n;
INSERT INTO tags (owner_id, name) SELECT 1 + n % 2000, 'tag' || n / 2000 FROM generate_series(0, 19999) n;
INSERT INTO link_tags (link_id, tag_id)
    SELECT l.id, t.id FROM links l JOIN tags t ON t.owner_id = l.owner_id AND t.name = 'tag' || l.id / 20 % 10;
INSERT INTO click_days (link_id, day, clicks)
    SELECT 1 + n % 100000, current_date - n / 100000, 1 FROM generate_series(0, 299999) n;
INSERT INTO drained_batches (id, drained_at)
    SELECT 'batch' || n, now() - n * interval '1 minute' FROM generate_series(1, 20000) n;
"""


@pytest.fixture
def app_database_url(migrated: str, servers: Any) -> Iterator[str]:
    """One of its own: what is known of its columns would outlive its rows."""
    with copy_of(migrated, servers) as url:
        yield url


@pytest.fixture
def filled(app_database_url: str) -> str:
    with psycopg.connect(app_database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("VACUUM ANALYZE")
        (slug,) = connection.execute("SELECT slug FROM links WHERE owner_id = 1 ORDER BY id LIMIT 1").fetchone() or ()
        return str(slug)


@pytest.fixture
def statements() -> Iterator[dict[str, Any]]:
    """What is executed while the test runs: the statement, and the parameters of its last execution."""
    seen: dict[str, Any] = {}

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.split(maxsplit=1)[0].upper() in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
            seen[statement] = parameters[0] if many else parameters

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


async def adopt(app: Quart, person: Person) -> None:
    """Make the person the owner of user1's 5,000 links."""
    await person.get("/register")
    await person.post("/register", {"username": "ada", "password": PASSWORD})
    async with app.app_context():
        connection = await db.session.connection()
        mine = "(SELECT id FROM users WHERE username = 'ada')"
        for table in ("links", "tags", "api_tokens"):
            await connection.exec_driver_sql(f"UPDATE {table} SET owner_id = {mine} WHERE owner_id = 1")
        await db.session.commit()


async def visit_every_page(person: Person, slug: str) -> None:
    """Every page and every form, with every kind of search, and a link that is not cached.

    All but the front page: its figures count whole tables, once a minute for all visitors, within a deadline.
    """
    assert (await person.get(f"/{slug}")).status_code == 302
    await person.log_in("ada")
    await person.get("/account")
    await person.post("/account/tokens", {"name": "new"})
    await person.post("/account/tokens/1/revoke")
    await person.post("/account/password", {"current_password": "not it at all", "new_password": PASSWORD})
    for query in ("", "?q=title", "?q=site9+exa", "?tag=tag3", "?q=title&tag=tag3&before=90000", "?before=50000"):
        response = await person.get(f"/links{query}")
        assert response.status_code == 200
        assert 'class="name"' in await response.get_data(as_text=True), query
    assert (await (await person.get("/links.csv")).get_data()).count(b"\n") > 4000
    await person.link(slug="mine", tags="tag3, new")
    await person.link(slug="mine")
    for path in ("/links/mine", f"/links/{slug}?days=365", f"/links/{slug}/edit", f"/links/{slug}/delete"):
        assert (await person.get(path)).status_code == 200
    await person.post(f"/links/{slug}/edit", {"target": "https://example.com/", "tags": "tag4, other"})
    await person.post(f"/links/{slug}/delete")
    await person.post("/account/logout-everywhere")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def scanned(statement: str, parameters: Any = None) -> list[str]:
    """The tables that PostgreSQL would read whole."""
    connection = await db.session.connection()
    plan = (await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)).scalar_one()
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return [node["Relation Name"] for node in nodes(plan[0]["Plan"]) if node["Node Type"] == "Seq Scan"]


async def test_no_page_scans_a_table(make: Make, filled: str, statements: dict[str, Any]) -> None:
    """Each statement is planned by PostgreSQL itself, with its own parameters, without a sequential scan."""
    app = await make()
    person = Person(app.test_client())
    await adopt(app, person)
    statements.clear()
    await visit_every_page(person, filled)
    seen = dict(statements)
    tables = {"users", "api_tokens", "links", "tags", "link_tags", "click_days"}
    assert tables <= {word for statement in seen for word in statement.replace(".", " ").split()}
    async with app.app_context():
        for statement, parameters in seen.items():
            assert await scanned(statement, parameters) == [], f"{statement} {parameters}"
        # The same look finds a scan where there is no index to use.
        assert await scanned("SELECT id FROM links WHERE title = 'Title 5'") == ["links"]
