"""What pages and API do with links: shortener.services, awaited."""

from datetime import timedelta

from redis.exceptions import RedisError
from shortener.models import ClickDay, Link, Tag, User, utcnow
from shortener.services import SlugTaken, configured, forget_link, link_maker
from shortener.urls import random_slug
from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from decant.bridge import in_thread
from decant.quart import current_app

from .extensions import cache, db, limiter

FIELDS = ("target", "title", "expires_at", "max_visits")


@limiter.shared_limit(
    configured("RATE_LINKS"),
    "links",
    key_func=link_maker,
    error_message="You have made many links in a short time. Wait a while.",
)
async def count_new_link():
    """Called before a link is made, when its fields are right: 429 if it is one too many."""


async def tags_named(owner_id, names):
    """The owner's tags of these names; those that do not exist are made, whoever else makes them at the same time."""
    if not names:
        return []
    rows = [{"owner_id": owner_id, "name": name} for name in names]
    await db.session.execute(insert(Tag).values(rows).on_conflict_do_nothing())
    found = await db.session.scalars(select(Tag).where(Tag.owner_id == owner_id, Tag.name.in_(names)))
    tags = {tag.name: tag for tag in found}
    return [tags[name] for name in names]


async def create_link(owner_id, data):
    """Raises SlugTaken."""
    values = {key: data[key] for key in FIELDS}
    tags = await tags_named(owner_id, data["tags"])
    for _ in range(5):
        link = Link(owner_id=owner_id, slug=data["slug"] or random_slug(), visits=0, tags=[], **values)
        try:
            async with db.session.begin_nested():
                db.session.add(link)
        except IntegrityError:
            if data["slug"]:
                await db.session.rollback()
                raise SlugTaken(data["slug"]) from None
        else:
            link.tags = tags
            await db.session.commit()
            return link
    raise RuntimeError("five made-up short names were taken: they are too short")


async def update_link(link, data):
    for key in FIELDS:
        setattr(link, key, data[key])
    link.tags = await tags_named(link.owner_id, data["tags"])
    await db.session.commit()
    await forget(link.slug)


async def delete_link(link):
    await db.session.delete(link)
    await db.session.commit()
    await forget(link.slug)


async def forget(slug):
    """What Flask's redirect has cached of a link: as long as it is there, some server may still ask it."""
    await in_thread(forget_in_flask, current_app.extensions["flask_app"], slug)


def forget_in_flask(flask_app, slug):
    with flask_app.app_context():
        try:
            forget_link(slug)
        except RedisError:  # the change itself is saved, and nobody reads from the cache either
            flask_app.logger.exception("what is cached of the link %s was not forgotten", slug)


async def search_links(owner_id, text="", tag=None, before=None, size=20):
    """Links of the owner, the newest first, and the id before which the next page begins, or None."""
    query = select(Link).where(Link.owner_id == owner_id)
    for word in text.split()[:8]:
        columns = (Link.slug, Link.title, Link.target)
        query = query.where(or_(*(column.icontains(word, autoescape=True) for column in columns)))
    if tag:
        query = query.where(Link.tags.any(Tag.name == tag))
    if before:
        query = query.where(Link.id < before)
    found = (await db.session.scalars(query.order_by(Link.id.desc()).limit(size + 1))).all()
    return found[:size], found[size - 1].id if len(found) > size else None


async def tags_in_use(owner_id):
    query = select(Tag.name).where(Tag.owner_id == owner_id, Tag.links.any()).order_by(Tag.name).limit(50)
    return (await db.session.scalars(query)).all()


@cache.cached(timeout=60, key_prefix="totals")
async def totals():
    """How many users and links there are, as of a minute ago: the same value of the cache in both halves."""
    count = select(select(func.count(User.id)).scalar_subquery(), select(func.count(Link.id)).scalar_subquery())
    users, links = (await db.session.execute(count)).one()
    return {"users": users, "links": links}


async def clicks_by_day(link, first, last):
    """The clicks of each day from first to last, both included, 0 where there are none."""
    rows = select(ClickDay.day, ClickDay.clicks).where(ClickDay.link_id == link.id, ClickDay.day.between(first, last))
    found = dict((await db.session.execute(rows)).tuples().all())
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [(day, found.get(day, 0)) for day in days]


@cache.memoize(timeout=10)
async def clicks_of_day(owner_id, day):
    """How many clicks all links of an owner had on a day."""
    query = select(func.coalesce(func.sum(ClickDay.clicks), 0)).join(Link, Link.id == ClickDay.link_id)
    return int(await db.session.scalar(query.where(Link.owner_id == owner_id, ClickDay.day == day)))


async def clicks_today(owner_id):
    return await clicks_of_day(owner_id, utcnow().date())
