"""A link's fields as they are sent, and as they are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from quart import current_app, request

from ..models import Link
from ..web.csrf import own_origins
from ..web.forms import Invalid, check
from . import rules, targets

__all__ = ["LinkInput", "form_values", "own_hosts", "parse", "short_url"]


@dataclass(frozen=True)
class LinkInput:
    """Checked fields of a link. ``slug`` None: one is made up."""

    target: str
    slug: str | None = None
    title: str | None = None
    expires_at: datetime | None = None
    max_visits: int | None = None
    tags: Sequence[str] = field(default_factory=tuple)


def own_hosts() -> set[str]:
    """Under which hosts this application is reached, as far as it knows: PUBLIC_URL's and the request's."""
    return {urlsplit(origin).netloc for origin in own_origins()}


def parse(fields: Mapping[str, str], *, editing: Link | None = None, hosts: Collection[str] | None = None) -> LinkInput:
    """Check ``target slug title expires_at timezone max_visits tags``, all strings, as a form sends them.

    An edited link keeps its slug, and may keep an expiry that has passed. ``hosts`` are this site's own, for who has
    no request from which :func:`own_hosts` could tell.

    :raises Invalid: with a sentence for each field that is wrong.
    """
    errors: dict[str, str] = {}
    own = own_hosts() if hosts is None else set(hosts)
    target = check(errors, "target", targets.target, fields.get("target", ""), own_hosts=own)
    slug = None
    if editing is None:
        reserved = current_app.extensions["reserved_slugs"]
        slug = check(errors, "slug", rules.slug, fields.get("slug", ""), reserved=reserved)
    title = check(errors, "title", rules.title, fields.get("title", ""))
    expires_at = check(
        errors,
        "expires_at",
        rules.expiry,
        fields.get("expires_at", ""),
        fields.get("timezone", "UTC"),
        now=datetime.now(UTC),
        unchanged=editing.expires_at if editing else None,
    )
    visits = check(errors, "max_visits", rules.max_visits, fields.get("max_visits", ""))
    tags = check(errors, "tags", rules.tag_names, fields.get("tags", "").split(","))
    if errors or target is None:
        raise Invalid(errors)
    return LinkInput(target, slug, title, expires_at, visits, tuple(tags or ()))


def form_values(link: Link) -> dict[str, str]:
    """A link's fields as its form shows them, the expiry in UTC."""
    return {
        "target": link.target,
        "title": link.title or "",
        "expires_at": link.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") if link.expires_at else "",
        "timezone": "UTC",
        "max_visits": "" if link.max_visits is None else str(link.max_visits),
        "tags": ", ".join(tag.name for tag in link.tags),
    }


def short_url(link: Link) -> str:
    """The address to give away."""
    origin = current_app.config["PUBLIC_URL"] or f"{request.scheme}://{request.host}"
    return f"{origin}/{link.slug}"
