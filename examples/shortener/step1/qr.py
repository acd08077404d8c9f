"""QR codes, drawn in processes that are there already."""

from shortener.qr import KEPT_S, draw
from shortener.urls import short_url

from decant.quart import Response, request

from .extensions import cache, cpu

TYPES = {"svg": "image/svg+xml", "png": "image/png"}


@cache.memoize(timeout=KEPT_S)
async def drawn(text, kind):
    """The image, drawn once a day at most."""
    return await cpu.submit(draw, text, kind)


async def image_of(link, kind):
    response = Response(await drawn(short_url(link), kind), mimetype=TYPES[kind])
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Disposition"] = f'inline; filename="{link.slug}.{kind}"'
    await response.add_etag()
    return await response.make_conditional(request)
