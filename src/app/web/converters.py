"""URL converters: what cannot be one of our identifiers is 404 before a view, or the database, sees it."""

from __future__ import annotations

from quart import Quart
from werkzeug.routing import BaseConverter, IntegerConverter, Map

__all__ = ["SLUG", "init_converters"]

SLUG = r"[A-Za-z0-9_-]{1,64}"


class Slug(BaseConverter):
    regex = SLUG


class Id63(IntegerConverter):
    """An identifier that fits PostgreSQL's bigint: 1 to 9·10¹⁸ − 1.

    What is out of range does not match at all: what matches and cannot be converted is 405, not 404, where the same
    address has another method.
    """

    regex = r"(?:[1-9][0-9]{0,17}|[1-8][0-9]{18})"

    def __init__(self, map: Map) -> None:  # noqa: A002
        super().__init__(map, min=1, max=9 * 10**18 - 1)


def init_converters(app: Quart) -> None:
    """Give routes ``<slug:…>`` and ``<id63:…>``."""
    app.url_map.converters.update(slug=Slug, id63=Id63)
