"""What pages, API and imports do with links."""

import logging
from datetime import timedelta

from flask import current_app, g
from flask_login import current_user
from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError

from .extensions import cache, db, executor, limiter, socketio
from .models import ClickDay, Link, Tag, User, utcnow
from .urls import random_slug

log = logging.getLogger(__name__)


class SlugTaken(Exception):
    def __init__(self, slug):
        super().__init__(f"The short name {slug} is taken. Choose another.")


def configured(key):
    """A limit that is read from the configuration."""
    return lambda: current_app.config[key]


def acting_user():
    """Whose API token it is, or who is logged in."""
    return g.get("api_user") or current_user._get_current_object()


def link_maker():
    return f"user:{acting_user().id}"


@limiter.shared_limit(
    configured("RATE_LINKS"),
    scope="links",
    key_func=link_maker,
    error_message="You have made many links in a short time. Wait a while.",
)
def count_new_link():
    """Called before a link is made, when its fields are right: 429 if it is one too many."""


def tags_named(owner_id, names):
    """The owner's tags of these names; those that do not exist are made."""
    if not names:
        return []
    found = {tag.name: tag for tag in Tag.query.filter(Tag.owner_id == owner_id, Tag.name.in_(names))}
    for name in names:
        if name not in found:
            try:
                with db.session.begin_nested():
                    found[name] = Tag(owner_id=owner_id, name=name)
                    db.session.add(found[name])
            except IntegrityError:  # another request was first
                found[name] = Tag.query.filter_by(owner_id=owner_id, name=name).one()
    return [found[name] for name in names]


def add_link(owner_id, data):
    """Adds a link to the session and flushes it. Raises SlugTaken."""
    values = {key: data[key] for key in ("target", "title", "expires_at", "max_visits")}
    tags = tags_named(owner_id, data["tags"])
    for _ in range(5):
        link = Link(owner_id=owner_id, slug=data["slug"] or random_slug(), visits=0, **values)
        try:
            with db.session.begin_nested():
                db.session.add(link)
                db.session.flush()
        except IntegrityError:
            if data["slug"]:
                raise SlugTaken(data["slug"]) from None
        else:
            link.tags = tags
            return link
    raise RuntimeError("five made-up short names were taken: they are too short")


def add_links(owner_id, wanted):
    """Adds many links at once; for each of them None, or the error that says why it is refused."""
    slugs = [data["slug"] for data in wanted if data["slug"]]
    taken = set(db.session.scalars(select(Link.slug).where(Link.slug.in_(slugs))))
    names = sorted({name for data in wanted for name in data["tags"]})
    tags = dict(zip(names, tags_named(owner_id, names), strict=True))
    results, links = [], []
    for data in wanted:
        slug = data["slug"] or random_slug()
        if slug in taken:
            results.append(SlugTaken(slug))
            continue
        taken.add(slug)
        values = {key: data[key] for key in ("target", "title", "expires_at", "max_visits")}
        found = [tags[name] for name in data["tags"]]
        links.append(Link(owner_id=owner_id, slug=slug, visits=0, tags=found, **values))
        results.append(None)
    try:
        with db.session.begin_nested():
            db.session.add_all(links)
    except IntegrityError:  # somebody took one of the names meanwhile: one by one, then
        return [try_link(owner_id, data) for data in wanted]
    return results


def try_link(owner_id, data):
    try:
        add_link(owner_id, data)
    except SlugTaken as error:
        return error
    return None


def create_link(owner, data):
    try:
        link = add_link(owner.id, data)
    except SlugTaken:
        db.session.rollback()
        raise
    db.session.commit()
    return link


def update_link(link, data):
    for key in ("target", "title", "expires_at", "max_visits"):
        setattr(link, key, data[key])
    link.tags = tags_named(link.owner_id, data["tags"])
    db.session.commit()
    forget_link(link.slug)


def delete_link(link):
    slug = link.slug
    db.session.delete(link)
    db.session.commit()
    forget_link(slug)


def search_links(owner, text="", tag=None, before=None, size=20):
    """Links of the owner, the newest first, and the id before which the next page begins, or None."""
    query = owner.links
    for word in text.split()[:8]:
        pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = query.filter(
            or_(
                Link.slug.ilike(pattern, escape="\\"),
                Link.title.ilike(pattern, escape="\\"),
                Link.target.ilike(pattern, escape="\\"),
            )
        )
    if tag:
        query = query.filter(Link.tags.any(Tag.name == tag))
    if before:
        query = query.filter(Link.id < before)
    found = query.order_by(Link.id.desc()).limit(size + 1).all()
    return found[:size], found[size - 1].id if len(found) > size else None


def tags_in_use(owner):
    query = select(Tag.name).where(Tag.owner_id == owner.id, Tag.links.any()).order_by(Tag.name).limit(50)
    return db.session.scalars(query).all()


@cache.cached(timeout=60, key_prefix="totals")
def totals():
    """How many users and links there are, as of a minute ago."""
    return {"users": User.query.count(), "links": Link.query.count()}


# -- the redirect ----------------------------------------------------------------------------------------------------


@cache.memoize(timeout=60)
def find_link(slug):
    """What the redirect has to know of a link, or None, which is not cached."""
    link = Link.query.filter_by(slug=slug).first()
    if link is None:
        return None
    return {"id": link.id, "target": link.target, "expires_at": link.expires_at, "max_visits": link.max_visits}


def forget_link(slug):
    cache.delete_memoized(find_link, slug)


def count_visit(found):
    """Counts a visit in the database; False if none is left."""
    if found["expires_at"] is not None and found["expires_at"] <= utcnow():
        return False
    left = or_(Link.max_visits.is_(None), Link.visits < Link.max_visits)
    done = db.session.execute(
        update(Link)
        .where(Link.id == found["id"], left)
        .values(visits=Link.visits + 1)
        .execution_options(synchronize_session=False)
    )
    if not done.rowcount:
        db.session.rollback()
        return False
    count_click(found["id"])
    db.session.commit()
    return True


def count_click(link_id):
    """One more for today. The link's row is locked by the update before, so nobody is between us and the insert."""
    today = utcnow().date()
    day = db.session.get(ClickDay, (link_id, today), populate_existing=True)
    if day is None:
        db.session.add(ClickDay(link_id=link_id, day=today, clicks=1))
    else:
        day.clicks = ClickDay.clicks + 1


def announce_click(app, slug, link_id):
    with app.app_context():
        socketio.emit("clicks", {"slug": slug, "clicks": 1}, to=f"link:{link_id}")


def in_background(function, *args):
    """In the pool's threads, after the answer. Errors are logged, since nobody asks for the result."""
    app = current_app._get_current_object()
    executor.submit(function, app, *args).add_done_callback(log_failure)


def log_failure(future):
    if future.exception() is not None:
        log.error("background work failed", exc_info=future.exception())


# -- statistics ------------------------------------------------------------------------------------------------------


def clicks_by_day(link, first, last):
    """The clicks of each day from first to last, both included, 0 where there are none."""
    rows = link.days.filter(ClickDay.day.between(first, last)).all()
    found = {row.day: row.clicks for row in rows}
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [(day, found.get(day, 0)) for day in days]


@cache.memoize(timeout=10)
def clicks_of_day(owner_id, day):
    """How many clicks all links of an owner had on a day."""
    query = (
        select(func.coalesce(func.sum(ClickDay.clicks), 0))
        .join(Link, Link.id == ClickDay.link_id)
        .where(Link.owner_id == owner_id, ClickDay.day == day)
    )
    return int(db.session.scalar(query))


def clicks_today(owner):
    return clicks_of_day(owner.id, utcnow().date())
