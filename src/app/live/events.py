"""What pages may ask for: to be told of the clicks of one's own links."""

from __future__ import annotations

from sqlalchemy import select

from decant import socketio as sio

from ..accounts import current_user
from ..extensions import db, link_room, socketio
from ..models import Link

__all__ = ["connect", "watch"]

_MOST = 50  # of a page


@socketio.on("connect")
async def connect() -> None:
    """Only for who is logged in."""
    if await current_user() is None:
        raise sio.ConnectionRefusedError("log in first")


@socketio.on("watch")
async def watch(slugs: object = None) -> list[str]:
    """Tell this page of the clicks of these links; which of them are the user's, at most :data:`_MOST`."""
    user = await current_user()
    if user is None or not isinstance(slugs, list):
        return []
    wanted = [slug for slug in slugs[:_MOST] if isinstance(slug, str) and slug.isascii() and slug.isprintable()]
    query = select(Link.id, Link.slug).where(Link.owner_id == user.id, Link.slug.in_(wanted))
    found = (await db.session.execute(query)).all()
    for link_id, _ in found:
        await sio.join_room(link_room(link_id))
    return [slug for _, slug in found]
