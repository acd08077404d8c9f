"""How far an import is, told to the pages that show it: over Socket.IO, from the worker that runs it."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import select

from decant import socketio as sio

from ..accounts import current_user
from ..extensions import db, socketio
from ..models import Import

__all__ = ["figures", "tell"]

logger = structlog.get_logger("app.imports")


def _room(import_id: int) -> str:
    return f"import:{import_id}"


def figures(found: Import) -> dict[str, Any]:
    """What a page shows."""
    return {
        "id": found.id,
        "state": found.state,
        "total": found.total,
        "done": found.done,
        "made": found.made,
        "refused": found.refused,
    }


async def _find(import_id: int) -> Import | None:
    query = select(Import).where(Import.id == import_id).execution_options(populate_existing=True)
    found: Import | None = await db.session.scalar(query)
    return found


async def tell(import_id: int) -> None:
    """Tell who looks on. Nothing waits for it: what is lost is in the page when it is loaded again."""
    found = await _find(import_id)
    await db.session.commit()  # gives the connection back
    if found is None:
        return
    try:
        await socketio.emit("import", figures(found), to=_room(import_id))
    except Exception as error:
        logger.warning("open pages are not told of an import", id=import_id, error=str(error))


@socketio.on("watch_import")
async def watch_import(import_id: object = None) -> dict[str, Any] | None:
    """Tell this page of one of the user's imports; how far it is now, or None if there is no such one."""
    user = await current_user()
    if user is None or type(import_id) is not int or not 0 < import_id < 2**63:
        return None
    found = await _find(import_id)
    if found is None or found.owner_id != user.id:
        return None
    await sio.join_room(_room(import_id))
    again = await _find(import_id)  # after the room is joined, so that nothing falls between
    return figures(again) if again is not None else None
