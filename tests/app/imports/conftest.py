"""People who import files, and jobs that are run at once, in the test's own process."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import select

from app.extensions import db
from app.models import Import, Link, Tag, link_tags
from decant import Quart
from decant.bridge import bridged


def file_of(*rows: Iterable[str], header: str = "target,slug,title,tags,expires_at,max_visits") -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return (header + "\r\n" + text.getvalue()).encode()


async def upload(person: Any, data: bytes, name: str = "links.csv") -> Any:
    """Send a file by the form."""
    return await person.post("/imports/new", {"file": (io.BytesIO(data), name)})


async def number_of(response: Any) -> int:
    """The import to whose page the response leads."""
    assert response.status_code == 303, await response.get_data(as_text=True)
    return int(response.headers["Location"].rpartition("/")[2])


async def run(app: Quart, import_id: int) -> str:
    """Do the job, as a worker does it."""
    async with app.app_context():
        state: str = await bridged(app.extensions["imports"].run(import_id))
        return state


async def state_of(app: Quart, import_id: int) -> Import:
    async with app.app_context():
        return (await db.session.scalars(select(Import).where(Import.id == import_id))).one()


async def links_of(app: Quart) -> list[dict[str, Any]]:
    """All links in the order in which they were made."""
    async with app.app_context():
        links = (await db.session.scalars(select(Link).order_by(Link.id))).all()
        tagged = select(link_tags.c.link_id, Tag.name).join(Tag).order_by(Tag.name)
        tags: dict[int, list[str]] = {}
        for link_id, name in await db.session.execute(tagged):
            tags.setdefault(link_id, []).append(name)
    names = ("slug", "target", "title", "expires_at", "max_visits")
    return [{name: getattr(link, name) for name in names} | {"tags": tags.get(link.id, [])} for link in links]


@pytest.fixture
def imported(app: Quart) -> Any:
    """Sends a file and does its job; the import afterwards."""

    async def do(person: Any, data: bytes) -> Import:
        import_id = await number_of(await upload(person, data))
        await run(app, import_id)
        return await state_of(app, import_id)

    return do
