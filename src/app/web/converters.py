"""URL converters: what cannot be one of our identifiers is 404 before a view, or the database, sees it."""

from __future__ import annotations

from quart import Quart
from werkzeug.routing import BaseConverter, IntegerConverter, Map

__all__ = ["SLUG", "init_converters"]

SLUG = r"[A-Za-z0-9_-]{1,64}"


class Slug(BaseConverter):
    regex = SLUG


class Id63(IntegerConverter):
    """An identifier that fits PostgreSQL's bigint."""

    def __init__(self, map: Map) -> None:  # noqa: A002
        super().__init__(map, min=1, max=2**63 - 1)


def init_converters(app: Quart) -> None:
    """Give routes ``<slug:…>`` and ``<id63:…>``."""
    app.url_map.converters.update(slug=Slug, id63=Id63)
