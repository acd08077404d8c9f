"""``/links/<slug>/qr.svg`` and ``qr.png``: drawn in a process of the pool, once a day at most."""

from __future__ import annotations

from quart import Blueprint, Response, request
from quart.typing import ResponseReturnValue

from ..accounts import login_required
from ..extensions import cache, cpu
from ..links.forms import short_url
from ..links.views import own
from .drawing import draw

__all__ = ["qr"]

qr = Blueprint("qr", __name__, url_prefix="/links")
_KEPT_S = 86_400
_TYPES = {"svg": "image/svg+xml; charset=utf-8", "png": "image/png"}


@cache.memoize(_KEPT_S)
async def _drawn(text: str, kind: str) -> bytes:
    drawn: bytes = await cpu.submit(draw, text, kind)
    return drawn


@qr.get("/<slug:slug>/qr.<any(svg,png):kind>")
@login_required
async def image(slug: str, kind: str) -> ResponseReturnValue:
    """The QR code of the link's short address. Browsers ask each time whether theirs is still right."""
    link = await own(slug)
    response = Response(await _drawn(short_url(link), kind), content_type=_TYPES[kind])
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Disposition"] = f'inline; filename="{link.slug}.{kind}"'
    await response.add_etag()
    return await response.make_conditional(request)
