"""``/api/docs``: the API's description in Swagger UI, from our own files, as the content security policy wants it."""

from __future__ import annotations

from quart import Blueprint, render_template
from quart.typing import ResponseReturnValue

from ..accounts import current_user

__all__ = ["docs"]

docs = Blueprint("api_docs", __name__)


@docs.get("/api/docs")
async def page() -> ResponseReturnValue:
    """Tried out from there, the API takes the session of whoever is logged in."""
    return await render_template("api/docs.html", user=await current_user())
