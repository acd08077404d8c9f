"""Many links at once: checked by the rules of the form, and made in a few statements, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, BigInteger, DateTime, String, bindparam, text

from ..extensions import db
from ..links.forms import LinkInput, parse
from ..links.service import new_slug
from ..web.forms import Invalid
from .parsing import Header, Row

__all__ = ["Refusal", "check", "make"]

Wanted = tuple[Row, LinkInput]
_ATTEMPTS = 5  # to make up a slug that nobody has
_TEXTS = ARRAY(String)
_LINKS = text(
    "INSERT INTO links (owner_id, slug, target, title, expires_at, max_visits)"
    " SELECT :owner, slug, target, title, expires_at, max_visits"
    " FROM unnest(:slugs, :targets, :titles, :expiries, :visits)"
    " WITH ORDINALITY AS given (slug, target, title, expires_at, max_visits, place) ORDER BY place"
    " ON CONFLICT (slug) DO NOTHING RETURNING id, slug"
).bindparams(
    bindparam("owner", type_=BigInteger),
    bindparam("slugs", type_=_TEXTS),
    bindparam("targets", type_=_TEXTS),
    bindparam("titles", type_=_TEXTS),
    bindparam("expiries", type_=ARRAY(DateTime(timezone=True))),
    bindparam("visits", type_=ARRAY(BigInteger)),
)
_TAGS = text(
    "INSERT INTO tags (owner_id, name) SELECT :owner, name FROM unnest(:names) WITH ORDINALITY AS given (name, place)"
    " ORDER BY place ON CONFLICT DO NOTHING"
).bindparams(bindparam("owner", type_=BigInteger), bindparam("names", type_=_TEXTS))
_LINK_TAGS = text(
    "INSERT INTO link_tags (link_id, tag_id) SELECT link, tags.id FROM unnest(:links, :names) AS given (link, name)"
    " JOIN tags ON tags.owner_id = :owner AND tags.name = given.name"
).bindparams(
    bindparam("owner", type_=BigInteger),
    bindparam("links", type_=ARRAY(BigInteger)),
    bindparam("names", type_=_TEXTS),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that makes no link, and why."""

    row: Row
    reason: str


def check(header: Header, row: Row, hosts: Collection[str]) -> LinkInput | Refusal:
    """What the row asks for, by the rules of the pages' form; dates without an offset are in UTC."""
    if row.problem is not None:
        return Refusal(row, row.problem)
    if len(row.cells) > len(header.names):
        return Refusal(row, f"There are {len(row.cells)} cells, and only {len(header.names)} columns.")
    try:
        return parse(header.fields(row.cells), hosts=hosts)
    except Invalid as invalid:
        return Refusal(row, " ".join(invalid.errors.values()))


async def make(owner_id: int, wanted: Sequence[Wanted]) -> tuple[list[str], list[Refusal]]:
    """Make the links, in their order; the slugs that were made, and the rows whose slug is somebody's already.

    Nothing is committed.
    """
    chosen, taken = _named(wanted, ())
    ids: dict[str, int] = {}
    for _ in range(_ATTEMPTS):
        ids |= await _insert(owner_id, {slug: data for slug, (_, data) in chosen.items() if slug not in ids})
        lost = [chosen.pop(slug) for slug in list(chosen) if slug not in ids]
        taken += [pair for pair in lost if pair[1].slug is not None]
        again, _ = _named([pair for pair in lost if pair[1].slug is None], chosen)
        if not again:
            break
        chosen |= again
    else:
        raise RuntimeError(f"{_ATTEMPTS} times made-up slugs were taken: they are too short")
    await _tag(owner_id, {ids[slug]: data.tags for slug, (_, data) in chosen.items()})
    return list(ids), [Refusal(row, f"The short name {data.slug} is taken. Choose another.") for row, data in taken]


def _named(wanted: Sequence[Wanted], used: Collection[str]) -> tuple[dict[str, Wanted], list[Wanted]]:
    """By slug, those without one with a made-up one; and those whose slug an earlier one has."""
    named: dict[str, Wanted] = {}
    taken: list[Wanted] = []
    for row, data in wanted:
        slug = data.slug or new_slug()
        while data.slug is None and (slug in named or slug in used):
            slug = new_slug()
        if slug in named:
            taken.append((row, data))
        else:
            named[slug] = (row, data)
    return named, taken


async def _insert(owner_id: int, links: dict[str, LinkInput]) -> dict[str, int]:
    if not links:
        return {}
    given = {
        "owner": owner_id,
        "slugs": list(links),
        "targets": [link.target for link in links.values()],
        "titles": [link.title for link in links.values()],
        "expiries": [link.expires_at for link in links.values()],
        "visits": [link.max_visits for link in links.values()],
    }
    return {slug: identity for identity, slug in await db.session.execute(_LINKS, given)}


async def _tag(owner_id: int, tags: dict[int, Sequence[str]]) -> None:
    pairs = [(link, name) for link, names in tags.items() for name in names]
    if not pairs:
        return
    names = sorted({name for _, name in pairs})  # in one order, so that two never wait for each other
    await db.session.execute(_TAGS, {"owner": owner_id, "names": names})
    given = {"owner": owner_id, "links": [link for link, _ in pairs], "names": [name for _, name in pairs]}
    await db.session.execute(_LINK_TAGS, given)
