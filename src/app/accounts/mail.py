"""The address of an account, its confirmation, and the summaries that are mailed to it."""

from __future__ import annotations

from datetime import UTC, datetime

from quart import Blueprint, Quart, abort, current_app, flash, redirect, render_template, request, url_for
from quart.typing import ResponseReturnValue
from sqlalchemy import update

from workers.jobs.mail import send_confirmation

from ..extensions import db
from ..mail.links import confirmation_of, unsubscription_of
from ..models import User
from ..web.csrf import exempt
from ..web.forms import Invalid, check
from . import rules
from .current import login_required, require_user
from .limits import count_mail
from .views import account_page

__all__ = ["init_mail", "mail"]

mail = Blueprint("mail", __name__, url_prefix="/account/mail")
"""What the account's page sends."""
by_token = Blueprint("mail_by_token", __name__, url_prefix="/account/mail")
"""What links in mails lead to: the token in the address says who may, whoever is logged in."""


def init_mail(app: Quart) -> None:
    """Give the application these pages where mail can be sent."""
    if app.config["SMTP_URL"] is None:
        return
    app.register_blueprint(mail)
    app.register_blueprint(by_token)
    exempt(app, by_token)  # a mailbox's one-click unsubscribing has no session, and a token of its own


async def change(user: User, email: str, digest: str) -> bool:
    """Set the address and how often summaries go to it; whether a mail to confirm it is sent.

    :raises Invalid: with a sentence for each field that is wrong.
    """
    errors: dict[str, str] = {}
    address = check(errors, "email", rules.email, email)
    often = check(errors, "digest", rules.digest, digest)
    if not errors and address is None and often != "off":
        errors["email"] = "Give an address that the summaries can be sent to."
    if errors or often is None:
        raise Invalid(errors)
    confirmed = address is not None and address == user.email and user.email_confirmed_at is not None
    if address is not None and not confirmed:
        await count_mail()
    if address != user.email:
        user.email_confirmed_at = None
    user.email, user.digest = address, often
    if address is not None and not confirmed:
        await send_confirmation.delay(user.id, address)
    await db.session.commit()
    return address is not None and not confirmed


@mail.post("")
@login_required
async def settings() -> ResponseReturnValue:
    form = await request.form
    values = {"email": form.get("email", ""), "digest": form.get("digest", "off")}
    try:
        sent = await change(await require_user(), values["email"], values["digest"])
    except Invalid as invalid:
        return await account_page(422, errors=invalid.errors, values=values)
    await flash("A mail is on its way: open the link in it." if sent else "The changes are saved.", "success")
    return redirect(url_for("accounts.account"), 303)


@by_token.get("/confirm/<token>")
async def confirm_page(token: str) -> ResponseReturnValue:
    _, email = _confirmation(token)
    return await _ask("Confirm your address", f"Is {email} yours, and may summaries be sent there?", "Confirm")


@by_token.post("/confirm/<token>")
async def confirm(token: str) -> ResponseReturnValue:
    user_id, email = _confirmation(token)
    query = update(User).where(User.id == user_id, User.email == email).values(email_confirmed_at=datetime.now(UTC))
    found = await db.session.scalar(query.returning(User.id))
    await db.session.commit()
    if found is None:
        abort(400, "The account has another address by now.")
    return await _done("The address is confirmed", f"Summaries go to {email} as often as your account says.")


@by_token.get("/unsubscribe/<token>")
async def unsubscribe_page(token: str) -> ResponseReturnValue:
    _, email = _unsubscription(token)
    return await _ask("No more summaries", f"Shall no more summaries be sent to {email}?", "Send no more")


@by_token.post("/unsubscribe/<token>")
async def unsubscribe(token: str) -> ResponseReturnValue:
    """The page's button, and what a mailbox sends by itself (RFC 8058)."""
    user_id, email = _unsubscription(token)
    await db.session.execute(update(User).where(User.id == user_id, User.email == email).values(digest="off"))
    await db.session.commit()
    return await _done("No more summaries", f"Nothing is sent to {email} any more. Your account can change that.")


def _confirmation(token: str) -> tuple[int, str]:
    found = confirmation_of(current_app, token)
    if found is None:
        abort(400, "This link is damaged or too old. Your account's page sends another.")
    return found


def _unsubscription(token: str) -> tuple[int, str]:
    found = unsubscription_of(current_app, token)
    if found is None:
        abort(400, "This link is damaged. Your account's page can end the summaries too.")
    return found


async def _ask(title: str, question: str, button: str) -> str:
    """A page with a button: programs that look into mails open links, but press nothing."""
    return await render_template("accounts/mail.html", title=title, text=question, button=button)


async def _done(title: str, text: str) -> str:
    return await render_template("accounts/mail.html", title=title, text=text, button=None)
