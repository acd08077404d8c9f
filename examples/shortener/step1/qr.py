"""QR codes, drawn in processes that stay."""

import multiprocessing

from shortener.qr import KEPT_S
from shortener.urls import short_url

from decant.quart import Response, request

from .drawing import draw
from .extensions import cache, cpu

TYPES = {"svg": "image/svg+xml", "png": "image/png"}
# The server from which those processes are forked imports these once, and not each of them.
multiprocessing.set_forkserver_preload(["__main__", "decant.executor", draw.__module__])


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
