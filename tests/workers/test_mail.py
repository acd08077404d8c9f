"""Mails by jobs: to a real SMTP server, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

import pytest
from sqlalchemy import select, text, update

from app.extensions import db
from app.mail.server import MailLater, MailRefused
from app.models import ClickDay, Digest, Link, User
from decant import Quart
from decant.tasks.testing import start_worker
from tests.app.mailbox import Mailbox, mailbox
from workers.jobs import mail as jobs
from workers.jobs.mail import forget_digests, plan_digests, send_confirmation, send_digest

TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)


class Noon(datetime):
    """The clock of the jobs: it is never the next day."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Noon:
        return cls.combine(TODAY, time(12), tz)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "datetime", Noon)


@pytest.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as made:
        yield made


@pytest.fixture
async def app(make: Any, box: Mailbox) -> Quart:
    made: Quart = await make(SMTP_URL=box.url, MAIL_FROM="Decant <links@sho.rt>", PUBLIC_URL="https://sho.rt")
    return made


async def add_user(name: str, **fields: Any) -> User:
    values = {"email": f"{name}@example.com", "email_confirmed_at": datetime.now(UTC), "digest": "daily", **fields}
    user = User(username=name, password_hash="-", **values)
    db.session.add(user)
    await db.session.commit()
    return user


async def add_clicks(user: User, clicks: dict[str, dict[date, int]]) -> None:
    for slug, days in clicks.items():
        link = Link(owner_id=user.id, slug=slug, target=f"https://example.com/{slug}", title=f"Title of {slug}")
        db.session.add(link)
        await db.session.flush()
        db.session.add_all(ClickDay(link_id=link.id, day=day, clicks=number) for day, number in days.items())
    await db.session.commit()


async def planned(kind: str) -> list[tuple[str, str]]:
    """Whose summaries are recorded, and the arguments of the jobs that send them."""
    names = select(User.username).join(Digest, Digest.user_id == User.id).where(Digest.kind == kind)
    found = list(await db.session.scalars(names.order_by(User.username)))
    query = text("SELECT summary FROM decant_jobs WHERE task = 'mail.summary' ORDER BY id")
    return list(zip(found, (summary for (summary,) in await db.session.execute(query)), strict=True))


async def test_who_wants_one_gets_one(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have asked for this kind and confirmed their address; run again, nobody gets a second one."""
    monkeypatch.setattr(jobs, "_AT_ONCE", 2)
    async with app.app_context():
        for number in range(5):
            await add_user(f"daily{number}")
        await add_user("off", digest="off")
        await add_user("weekly", digest="weekly")
        await add_user("unconfirmed", email_confirmed_at=None)
        assert await plan_digests("daily") == 5
        assert [name for name, _ in await planned("daily")] == [f"daily{number}" for number in range(5)]
        assert all(str(YESTERDAY) in summary or "daily" in summary for _, summary in await planned("daily"))
        assert await plan_digests("daily") == 0
        await add_user("late")
        assert await plan_digests("daily") == 1
        assert await plan_digests("weekly") == 1


async def test_records_and_jobs_come_together(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the job dies on the way, who was recorded has a job, and the others are found by the next run."""
    monkeypatch.setattr(jobs, "_AT_ONCE", 2)
    real, asked = send_digest.delay, 0

    async def delay(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise RuntimeError("killed")
        return await real(*args)

    monkeypatch.setattr(send_digest, "delay", delay)
    async with app.app_context():
        for number in range(5):
            await add_user(f"daily{number}")
        with pytest.raises(RuntimeError, match="killed"):
            await plan_digests("daily")
        await db.session.rollback()
        assert len(await planned("daily")) == 2
        assert await plan_digests("daily") == 3
        assert len(await planned("daily")) == 5


async def test_a_summary(app: Quart, box: Mailbox) -> None:
    """The clicks of the period, the links that have the most, and how to end it."""
    async with app.app_context():
        user = await add_user("ada")
        clicks = {f"link{n}": {YESTERDAY: n + 1, TODAY: 1000, YESTERDAY - timedelta(days=1): 1000} for n in range(12)}
        await add_clicks(user, clicks)
        await add_clicks(await add_user("eve"), {"others": {YESTERDAY: 5000}})
        await plan_digests("daily")
        assert await send_digest(user.id, "daily", YESTERDAY) is True
        [mail] = box.messages
        body = mail.get_content()
        assert box.recipients == ["ada@example.com"]
        assert mail["From"] == "Decant <links@sho.rt>"
        assert mail["Subject"].startswith("78 visits on ")
        assert "12 links of yours at sho.rt had 78 visits" in " ".join(body.split())
        assert body.index("https://sho.rt/link11") < body.index("https://sho.rt/link2")
        assert "Title of link11" in body
        assert "https://sho.rt/link1\n" not in body, "it is not among the first ten"
        assert "others" not in body
        leave = mail["List-Unsubscribe"].strip("<>")
        assert leave in body
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert await send_digest(user.id, "daily", YESTERDAY) is False
        assert len(box.messages) == 1
    path = leave.removeprefix("https://sho.rt")
    assert (await app.test_client().post(path, data={"List-Unsubscribe": "One-Click"})).status_code == 200
    async with app.app_context():
        assert (await db.session.get(User, user.id)).digest == "off"


async def test_a_worker_does_it(app: Quart, box: Mailbox) -> None:
    """From the schedule's job to the mailbox; an address that is given on the page gets its mail too."""
    async with app.app_context():
        await add_clicks(await add_user("ada"), {"mine": {YESTERDAY: 3}})
        eve = await add_user("eve", email=None, email_confirmed_at=None, digest="off")
        eve.email = "eve@example.com"
        asked = await send_confirmation.delay(eve.id, eve.email)
        await db.session.commit()
        planned = await plan_digests.delay("daily")
        async with start_worker(app):
            assert await planned.get(timeout=60) == 1
            mails = {mail["To"]: mail for mail in await box.until(2)}
    subjects = {to: mail["Subject"] for to, mail in mails.items()}
    assert subjects["ada@example.com"].startswith("3 visits on ")
    assert subjects["eve@example.com"] == "Confirm your address at sho.rt"
    # The job's: the same where it is tried again, and no part of the link, which mail servers would log.
    assert mails["eve@example.com"]["Message-ID"] == f"<confirm-{asked.id}@sho.rt>"


async def test_a_week(app: Quart, box: Mailbox) -> None:
    """Seven days, that ended last midnight."""
    async with app.app_context():
        user = await add_user("ada", digest="weekly")
        days = {TODAY - timedelta(days=ago): 10**ago for ago in range(9)}
        await add_clicks(user, {"mine": days})
        await plan_digests("weekly")
        assert await send_digest(user.id, "weekly", TODAY - timedelta(days=7)) is True
    assert box.messages[0]["Subject"].startswith("11,111,110 visits from ")


async def test_what_is_not_sent(app: Quart, box: Mailbox) -> None:
    """Nothing to tell; not wanted any more; an address that is not confirmed; a user who is gone."""
    async with app.app_context():
        user = await add_user("ada")
        await plan_digests("daily")
        assert await send_digest(user.id, "daily", YESTERDAY) is False
        await add_clicks(user, {"mine": {YESTERDAY: 1}})
        for field, value in (("digest", "weekly"), ("email_confirmed_at", None), ("email", None)):
            kept = getattr(user, field)
            setattr(user, field, value)
            await db.session.commit()
            assert await send_digest(user.id, "daily", YESTERDAY) is False, field
            setattr(user, field, kept)
            await db.session.commit()
        assert await send_digest(user.id, "daily", TODAY) is False, "was never planned"
        assert await send_digest(user.id + 1, "daily", YESTERDAY) is False
        assert box.tried == 0
        assert await send_digest(user.id, "daily", YESTERDAY) is True


async def test_a_mail_that_is_sent_again_can_be_told(app: Quart, box: Mailbox) -> None:
    """Killed after the server took it: sent once more, with the same Message-ID."""
    async with app.app_context():
        user = await add_user("ada")
        await add_clicks(user, {"mine": {YESTERDAY: 1}})
        await plan_digests("daily")
        await send_digest(user.id, "daily", YESTERDAY)
        await db.session.execute(update(Digest).values(sent_at=None))
        await db.session.commit()
        db.session.expire_all()
        await send_digest(user.id, "daily", YESTERDAY)
    assert len({mail["Message-ID"] for mail in box.messages}) == 1
    assert len(box.messages) == 2


@pytest.mark.parametrize(("answer", "error"), [("451 later", MailLater), ("550 never", MailRefused)])
async def test_what_the_server_does_not_take(app: Quart, box: Mailbox, answer: str, error: type[Exception]) -> None:
    """Is not noted as sent; only 4xx is tried again by itself."""
    box.answers["DATA"] = answer
    async with app.app_context():
        user = await add_user("ada")
        await add_clicks(user, {"mine": {YESTERDAY: 1}})
        await plan_digests("daily")
        with pytest.raises(error):
            await send_digest(user.id, "daily", YESTERDAY)
        box.answers.clear()
        assert await send_digest(user.id, "daily", YESTERDAY) is True
    assert (MailLater in send_digest.autoretry_for, MailRefused in send_digest.autoretry_for) == (True, False)


async def test_an_address_is_asked_once_it_is_kept(app: Quart, box: Mailbox) -> None:
    """The mail's link confirms it; asked again, nothing is sent for one that is confirmed, or another by now."""
    async with app.app_context():
        user = await add_user("ada", email=None, email_confirmed_at=None)
        user.email = "ada@example.com"
        await db.session.commit()
        assert await send_confirmation(user.id, "ada@example.com") is True
        assert await send_confirmation(user.id, "old@example.com") is False
    [mail] = box.messages
    body = mail.get_content()
    link = next(line for line in body.splitlines() if "/confirm/" in line)
    assert link.startswith("https://sho.rt/account/mail/confirm/")
    assert (await app.test_client().post(link.removeprefix("https://sho.rt"))).status_code == 200
    async with app.app_context():
        assert await send_confirmation(user.id, "ada@example.com") is False


async def test_old_records_are_forgotten(app: Quart) -> None:
    """After ninety days, in which no schedule comes again."""
    async with app.app_context():
        user = await add_user("ada")
        now = Noon.now(UTC)
        for ago in (89, 91):
            first = TODAY - timedelta(days=ago)
            db.session.add(Digest(user_id=user.id, kind="daily", first=first, created_at=now - timedelta(days=ago)))
        await db.session.commit()
        await forget_digests()
        assert list(await db.session.scalars(select(Digest.first))) == [TODAY - timedelta(days=89)]
