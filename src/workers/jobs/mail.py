"""Mails: to confirm an address, and the summaries of a day or a week."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.extensions import db, tasks
from app.mail.messages import Summary, confirmation, digest
from app.mail.server import MailLater, MailRefused, send
from app.models import ClickDay, Digest, Link, User
from decant.context import current_app
from decant.errors import Unavailable

__all__ = ["forget_digests", "plan_digests", "send_confirmation", "send_digest"]

_DAYS = {"daily": 1, "weekly": 7}
_AT_ONCE = 500  # users in one transaction
_TOP = 10
_REMEMBERED = timedelta(days=90)
logger = structlog.get_logger("workers.mail")

_mail = {
    # Two hours in all: 1, 2, 4, … minutes, each at random up to that, at most half an hour.
    "autoretry_for": (MailLater, Unavailable),
    "retry_backoff": 60,
    "retry_backoff_max": 1800,
    "max_retries": 8,
    "throws": (MailLater, MailRefused),
    "time_limit": 120,
}


@tasks.task(name="mail.confirm", bind=True, ignore_result=True, **_mail)
async def send_confirmation(self: Any, user_id: int, email: str) -> bool:
    """Ask whether an address is the user's; whether that was still to be asked."""
    user = await db.session.get(User, user_id)
    await db.session.commit()  # gives the connection back: the mail server may be slow
    if user is None or user.email != email or user.email_confirmed_at is not None:
        return False
    identity = str(self.request.id or uuid4())
    await send(current_app(), confirmation(current_app(), user.id, user.username, email, identity))
    return True


@tasks.task(name="mail.plan", time_limit=600)
async def plan_digests(kind: str) -> int:
    """Have a summary sent to each user who wants one of this kind; how many. Run again, it sends none twice.

    The period is the day, or the seven days, that ended last midnight in UTC.
    """
    first = datetime.now(UTC).date() - timedelta(days=_DAYS[kind])
    planned, after = 0, 0
    while users := await _wanting(kind, after):
        rows = [{"user_id": user, "kind": kind, "first": first} for user in users]
        new = insert(Digest).values(rows).on_conflict_do_nothing().returning(Digest.user_id)
        for user in list(await db.session.scalars(new)):
            await send_digest.delay(user, kind, first)
            planned += 1
        await db.session.commit()  # the rows and their jobs, at once
        after = users[-1]
    logger.info("summaries planned", kind=kind, first=first.isoformat(), users=planned)
    return planned


async def _wanting(kind: str, after: int) -> Sequence[int]:
    """The next users who want this kind and have confirmed their address, by id."""
    query = select(User.id).where(User.digest == kind, User.email_confirmed_at.is_not(None), User.id > after)
    return (await db.session.scalars(query.order_by(User.id).limit(_AT_ONCE))).all()


@tasks.task(name="mail.summary", **_mail)
async def send_digest(user_id: int, kind: str, first: date) -> bool:
    """Send one summary, if it is wanted, was not sent, and there is something to tell; whether it was."""
    user, row = await db.session.get(User, user_id), await db.session.get(Digest, (user_id, kind, first))
    if user is None or row is None or row.sent_at is not None:
        return False
    if user.digest != kind or user.email is None or user.email_confirmed_at is None:
        return False
    summary = await _summary(user, kind, first)
    await db.session.commit()  # gives the connection back: the mail server may be slow
    if not summary.total:
        return False
    await send(current_app(), digest(current_app(), user.id, user.username, user.email, summary))
    # If the worker is killed right here it is sent twice, with the same Message-ID: SMTP has no more to offer.
    sent = update(Digest).where(Digest.user_id == user_id, Digest.kind == kind, Digest.first == first)
    await db.session.execute(sent.values(sent_at=func.now()))
    await db.session.commit()
    return True


async def _summary(user: User, kind: str, first: date) -> Summary:
    last = first + timedelta(days=_DAYS[kind] - 1)
    clicks = func.sum(ClickDay.clicks)
    query = (
        select(Link.slug, Link.title, Link.preview_title, Link.target, clicks)
        .join(ClickDay, ClickDay.link_id == Link.id)
        .where(Link.owner_id == user.id, ClickDay.day.between(first, last))
        .group_by(Link.id)
        .order_by(clicks.desc(), Link.id)
    )
    rows = (await db.session.execute(query)).all()
    top = [(slug, title or page or target, int(count)) for slug, title, page, target, count in rows[:_TOP]]
    return Summary(kind, first, last, sum(int(row[-1]) for row in rows), len(rows), top)


@tasks.task(name="mail.forget", ignore_result=True, time_limit=60)
async def forget_digests() -> None:
    """Delete the records of summaries that were due long ago."""
    old = datetime.now(UTC) - _REMEMBERED
    await db.session.execute(delete(Digest).where(Digest.created_at < old))
    await db.session.commit()
