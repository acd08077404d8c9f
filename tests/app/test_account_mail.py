"""The address of an account: given, confirmed, and left alone again by whoever reads its mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from sqlalchemy import select, text

from app.extensions import db
from app.mail.links import confirmation_token, unsubscribe_token
from app.models import User
from decant import Quart

from .conftest import Make, Person, text_of

People = Callable[[], Person]
MAIL = {"SMTP_URL": "smtp://127.0.0.1:1", "MAIL_FROM": "Decant <links@sho.rt>", "PUBLIC_URL": "http://localhost"}


@pytest.fixture
async def app(make: Make) -> Quart:
    """With a mail server, which no test here talks to: that is the worker's business."""
    return await make(**MAIL)


async def user(app: Quart) -> User:
    async with app.app_context():
        found: User = (await db.session.scalars(select(User))).one()
        return found


async def jobs(app: Quart) -> list[tuple[str, str]]:
    """The tasks that are waiting, and their arguments."""
    async with app.app_context():
        query = text("SELECT task, summary FROM decant_jobs WHERE task LIKE 'mail.%' ORDER BY created, id")
        return [(task, summary) for task, summary in await db.session.execute(query)]


async def save(person: Person, email: str, digest: str = "off") -> Any:
    await person.get("/account")
    return await person.post("/account/mail", {"email": email, "digest": digest})


async def test_without_a_mail_server_nothing_is_offered(make: Make) -> None:
    """No form, and none is taken."""
    somebody = Person((await make()).test_client())
    await somebody.register("ada")
    assert "E-mail" not in await text_of(await somebody.get("/account"))
    assert (await save(somebody, "ada@example.com")).status_code == 404
    assert (await somebody.get("/account/mail/unsubscribe/x")).status_code == 404


async def test_an_address_is_confirmed_by_a_mail(ada: Person, app: Quart) -> None:
    """The job that asks is in the transaction that keeps the address; the page says that the answer is waited for."""
    assert (await save(ada, "Ada@Example.com", "weekly")).status_code == 303
    found = await user(app)
    assert (found.email, found.email_confirmed_at, found.digest) == ("Ada@example.com", None, "weekly")
    [(task, summary)] = await jobs(app)
    assert task == "mail.confirm"
    assert "Ada@example.com" in summary
    page = await text_of(await ada.get("/account"))
    assert "Ada@example.com is not confirmed yet" in page
    assert '<option value="weekly" selected>' in page


async def test_opening_the_link_is_not_enough(ada: Person, app: Quart, person: People) -> None:
    """Programs that look into mails open links; the button on the page confirms, in any browser, more than once."""
    await save(ada, "ada@example.com", "daily")
    path = f"/account/mail/confirm/{confirmation_token(app, (await user(app)).id, 'ada@example.com')}"
    elsewhere = person()
    assert "Is ada@example.com yours" in await text_of(await elsewhere.get(path))
    assert (await user(app)).email_confirmed_at is None
    for _ in range(2):
        assert "is confirmed" in await text_of(await elsewhere.post(path))
    found = await user(app)
    assert found.email_confirmed_at is not None
    assert "not confirmed yet" not in await text_of(await ada.get("/account"))
    await save(ada, "ada@example.com", "weekly")
    assert (await user(app)).email_confirmed_at == found.email_confirmed_at
    assert len(await jobs(app)) == 1


async def test_another_address_is_confirmed_anew(ada: Person, app: Quart) -> None:
    """And the link to the old one confirms nothing."""
    await save(ada, "ada@example.com")
    old = confirmation_token(app, (await user(app)).id, "ada@example.com")
    await ada.post(f"/account/mail/confirm/{old}")
    await save(ada, "eve@example.com")
    assert (await user(app)).email_confirmed_at is None
    response = await ada.post(f"/account/mail/confirm/{old}")
    assert response.status_code == 400
    assert "another address" in await text_of(response)
    assert (await user(app)).email_confirmed_at is None
    assert (await save(ada, "", "off")).status_code == 303
    assert (await user(app)).email is None


async def test_a_link_is_good_for_three_days_and_for_its_purpose(ada: Person, app: Quart) -> None:
    """A token that was made up, is old, or is for something else is 400, as is a user's who is no more."""
    await save(ada, "ada@example.com")
    number = (await user(app)).id
    with time_machine.travel("2020-01-01", tick=True):
        old = confirmation_token(app, number, "ada@example.com")
    leaving = unsubscribe_token(app, number, "ada@example.com")
    fresh = confirmation_token(app, number, "ada@example.com")
    nobody = confirmation_token(app, number + 1, "ada@example.com")
    for token in (old, leaving, nobody, fresh[:-2], "x", "é"):
        assert (await ada.post(f"/account/mail/confirm/{token}")).status_code == 400, token
    for token in (fresh, leaving[:-2], "x"):
        assert (await ada.get(f"/account/mail/unsubscribe/{token}")).status_code == 400, token
    assert (await user(app)).email_confirmed_at is None


@pytest.mark.parametrize("data", [{}, {"List-Unsubscribe": "One-Click"}])
async def test_summaries_end_with_one_click(ada: Person, app: Quart, data: dict[str, str]) -> None:
    """By the page's button, and by a mailbox that posts by itself, without cookies (RFC 8058); years later too."""
    await save(ada, "ada@example.com", "daily")
    with time_machine.travel("2020-01-01", tick=True):
        path = f"/account/mail/unsubscribe/{unsubscribe_token(app, (await user(app)).id, 'ada@example.com')}"
    assert "no more summaries" in await text_of(await ada.get(path))
    assert (await user(app)).digest == "daily"
    response = await app.test_client().post(path, data=data)
    assert response.status_code == 200
    assert (await user(app)).digest == "off"
    await save(ada, "eve@example.com", "daily")
    await app.test_client().post(path, data=data)
    assert (await user(app)).digest == "daily", "the link is the old address's"


@pytest.mark.parametrize(
    ("email", "digest", "sentence"),
    [
        ("ada", "off", "not an e-mail address"),
        ("ada@localhost", "daily", "not a domain"),
        ("", "daily", "Give an address"),
        ("ada@example.com", "hourly", "Choose one of"),
    ],
)
async def test_what_is_refused(ada: Person, app: Quart, email: str, digest: str, sentence: str) -> None:
    """With a sentence, what was typed, and nothing kept or sent."""
    response = await save(ada, email, digest)
    assert response.status_code == 422
    page = await text_of(response)
    assert sentence in page
    assert f'value="{email}"' in page
    assert (await user(app)).email is None
    assert await jobs(app) == []


async def test_strangers_are_not_flooded(make: Make) -> None:
    """So many mails to unconfirmed addresses, no more; saving anything else is not counted."""
    app = await make(**MAIL, RATE_MAIL="2 per hour")
    somebody = Person(app.test_client())
    await somebody.register("ada")
    for number in range(2):
        assert (await save(somebody, f"victim{number}@example.com")).status_code == 303
    assert (await save(somebody, "victim2@example.com")).status_code == 429
    assert (await user(app)).email == "victim1@example.com"
    assert (await save(somebody, "")).status_code == 303
    assert len(await jobs(app)) == 2


async def test_the_settings_belong_together(make: Make) -> None:
    """SMTP_URL without a sender, or without the origin that links in mails need, stops the start."""
    from decant.errors import ConfigError

    for missing in ("MAIL_FROM", "PUBLIC_URL"):
        with pytest.raises(ConfigError, match=missing):
            await make(**{**MAIL, missing: None})
