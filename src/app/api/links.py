"""Links: listed, made, read, changed, deleted, and their clicks by day. Somebody else's are 404."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from msgspec import UNSET
from quart import Blueprint, abort, url_for
from quart.typing import ResponseReturnValue

from ..accounts.current import require_user
from ..links import service
from ..links.forms import parse, short_url
from ..links.limits import count_new_link
from ..models import Link
from ..stats.days import clicks_by_day
from ..web.forms import Invalid, Refused, plain_text
from .errors import Rejected
from .operations import nothing, operation
from .schemas import (
    Clicks,
    ClicksOfDay,
    ClicksQuery,
    LinkChanges,
    LinkPage,
    LinksQuery,
    LinkView,
    NewLink,
    PreviewView,
)

__all__ = ["links"]

links = Blueprint("links", __name__)
_DAYS, _MOST_DAYS = 30, 366


def _view(link: Link) -> LinkView:
    return LinkView(
        slug=link.slug,
        short_url=short_url(link),
        target=link.target,
        title=link.title,
        expires_at=link.expires_at,
        max_visits=link.max_visits,
        visits=link.visits,
        expired=link.expired,
        tags=[tag.name for tag in link.tags],
        preview=_preview(link),
        created_at=link.created_at,
    )


def _preview(link: Link) -> PreviewView | None:
    if link.preview_at is None:
        return None
    return PreviewView(
        title=link.preview_title,
        description=link.preview_description,
        problem=link.preview_problem,
        seen_at=link.preview_at,
    )


def _form(values: dict[str, Any]) -> dict[str, str]:
    """Typed values as a form sends them, for the rules that the pages' forms go through."""
    texts = {name: "" if value is None else str(value) for name, value in values.items()}
    texts["expires_at"] = values["expires_at"].isoformat() if values.get("expires_at") else ""
    texts["tags"] = ",".join(values["tags"])
    return texts


async def _own(slug: str, *, for_update: bool = False) -> Link:
    link = await service.find(await require_user(), slug, for_update=for_update)
    if link is None:
        abort(404, "You have no link of this name.")
    return link


def _line(name: str, value: str) -> str:
    try:
        return plain_text(value, most=100, what=f"The parameter {name}")
    except Refused as refused:
        raise Rejected([{"detail": str(refused), "parameter": name}]) from None


@links.get("/links")
@operation(
    "list_links",
    group="links",
    query=LinksQuery,
    answers=LinkPage,
    headers={"Link": 'The next page, if there is one: `<…>; rel="next"`.'},
)
async def list_links(query: LinksQuery) -> ResponseReturnValue:
    """Your links, the newest first

    A page ends where ``limit`` says; ``next`` leads to the one after it. Links that are made meanwhile do not
    move what follows.
    """
    text, tag = _line("q", query.q), _line("tag", query.tag or "").lower() or None
    page = await service.search(await require_user(), text, tag=tag, before=query.before, size=query.limit)
    answer = LinkPage(items=[_view(link) for link in page.items], next=None)
    if page.older is None:
        return answer, 200, {}  # type: ignore[return-value]
    asked = {"q": text, "tag": tag, "limit": query.limit, "before": page.older}
    answer.next = f"{url_for('.list_links')}?{urlencode({name: value for name, value in asked.items() if value})}"
    return answer, 200, {"Link": f'<{answer.next}>; rel="next"'}  # type: ignore[return-value]


@links.post("/links")
@operation(
    "create_link",
    group="links",
    body=NewLink,
    answers=LinkView,
    status=201,
    problems=(409,),
    headers={"Location": "Where the link is in this API."},
)
async def create_link(body: NewLink) -> ResponseReturnValue:
    """Make a link

    It works at once. 409 if the slug that you ask for is taken, by whomever.
    """
    if body.slug is not None and (not body.slug or body.slug != body.slug.strip()):  # a form may leave it empty
        raise Invalid({"slug": "A short name has no blanks around it. Leave it out to have one made up."})
    fields = {name: getattr(body, name) for name in body.__struct_fields__}
    data = parse(_form(fields))
    await count_new_link()
    link = await service.create(await require_user(), data)
    return _view(link), 201, {"Location": url_for(".read_link", slug=link.slug)}  # type: ignore[return-value]


@links.get("/links/<slug:slug>")
@operation("read_link", group="links", answers=LinkView, problems=(404,))
async def read_link(slug: str) -> ResponseReturnValue:
    """One of your links"""
    return _view(await _own(slug))  # type: ignore[return-value]


@links.patch("/links/<slug:slug>")
@operation("change_link", group="links", body=LinkChanges, answers=LinkView, problems=(404,))
async def change_link(slug: str, body: LinkChanges) -> ResponseReturnValue:
    """Change a link

    A field that is left out stays as it is; ``null`` takes its value away.
    """
    link = await _own(slug, for_update=True)
    kept = {"tags": [tag.name for tag in link.tags]}
    kept |= {name: getattr(link, name) for name in body.__struct_fields__ if name != "tags"}
    sent = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET}
    await service.update(await require_user(), link, parse(_form(kept | sent), editing=link))
    return _view(link)  # type: ignore[return-value]


@links.delete("/links/<slug:slug>")
@operation("delete_link", group="links", answers=None, status=204, problems=(403, 404))
async def delete_link(slug: str) -> ResponseReturnValue:
    """Delete a link and its clicks

    Its slug can then be taken by anybody.
    """
    await service.delete(await _own(slug, for_update=True))
    return nothing()


@links.get("/links/<slug:slug>/clicks")
@operation("read_clicks", group="links", query=ClicksQuery, answers=Clicks, problems=(404,))
async def read_clicks(slug: str, query: ClicksQuery) -> ResponseReturnValue:
    """The clicks of a link by day

    At most 366 days, in UTC, days without any included. Clicks of the last seconds may be missing.
    """
    first, last = _period(query)
    link = await _own(slug)
    by_day = await clicks_by_day(link, first, last)
    days = [ClicksOfDay(day=day, clicks=clicks) for day, clicks in by_day.items()]
    return Clicks(slug=link.slug, first=first, last=last, total=sum(by_day.values()), days=days)  # type: ignore[return-value]


def _period(query: ClicksQuery) -> tuple[date, date]:
    last = query.last or datetime.now(UTC).date()
    earliest = max(last.toordinal() - (_DAYS - 1), date.min.toordinal())
    first = query.first or date.fromordinal(earliest)
    if first > last:
        raise Rejected([{"detail": f"{first} is after the last day, {last}.", "parameter": "from"}])
    if last - first >= timedelta(days=_MOST_DAYS):
        raise Rejected(
            [{"detail": f"At most {_MOST_DAYS} days: {first} is too long before {last}.", "parameter": "from"}]
        )
    return first, last
