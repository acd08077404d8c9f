"""What mails say: plain text, with nothing in it that loads from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import urlsplit

from quart import Quart

from .links import CONFIRM_WITHIN, confirmation_token, unsubscribe_token

__all__ = ["Summary", "confirmation", "digest"]

_PATH = "/account/mail"


@dataclass(frozen=True)
class Summary:
    """The clicks on somebody's links from ``first`` to ``last``, both included: of all, and of those with the most."""

    kind: str
    first: date
    last: date
    total: int
    links: int
    top: list[tuple[str, str, int]]
    """Slug, title or address, clicks."""


def _message(app: Quart, to: str, subject: str, text: str, identity: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = app.config["MAIL_FROM"]
    message["To"] = Address(addr_spec=to)
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    # The same for a mail that has to be sent again: many mailboxes show it once. Mail servers log it: nothing secret.
    message["Message-ID"] = f"<{identity}@{_domain(app)}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


def _domain(app: Quart) -> str:
    return parseaddr(app.config["MAIL_FROM"])[1].rpartition("@")[2]


def _site(app: Quart) -> tuple[str, str]:
    """The origin, and how people call it."""
    origin: str = app.config["PUBLIC_URL"]
    return origin, urlsplit(origin).netloc


def confirmation(app: Quart, user_id: int, username: str, email: str, identity: str) -> EmailMessage:
    """Asks whether the address is the user's. ``identity``: of this asking, the same where it is sent again."""
    origin, name = _site(app)
    token = confirmation_token(app, user_id, email)
    text = f"""\
Somebody, hopefully you, has given this address for the account {username} at {name}.

To confirm it, open this page within {CONFIRM_WITHIN.days} days:

{origin}{_PATH}/confirm/{token}

If it was not you, do nothing: no more mail will come.
"""
    return _message(app, email, f"Confirm your address at {name}", text, f"confirm-{identity}")


def digest(app: Quart, user_id: int, username: str, email: str, summary: Summary) -> EmailMessage:
    """Tells how often the user's links were followed, with a way to end such mails in two headers and in the text."""
    origin, name = _site(app)
    leave = f"{origin}{_PATH}/unsubscribe/{unsubscribe_token(app, user_id, email)}"
    period = f"on {_day(summary.first)}"
    if summary.last != summary.first:
        period = f"from {_day(summary.first)} to {_day(summary.last)}"
    rows = "\n".join(f"{clicks:>9,}  {origin}/{slug}\n           {what[:100]}" for slug, what, clicks in summary.top)
    text = f"""\
Hello {username},

{period} (UTC) {_number(summary.links, "link")} of yours at {name} had {_number(summary.total, "visit")}:

{rows}

Everything is at {origin}/links

You get this because you asked for it on {origin}/account. To end it:
{leave}
"""
    subject = f"{_number(summary.total, 'visit')} {period}"
    message = _message(app, email, subject, text, f"digest-{user_id}-{summary.kind}-{summary.first.isoformat()}")
    message["List-Id"] = f"Summaries of {name} <{summary.kind}.digest.{_domain(app)}>"
    message["List-Unsubscribe"] = f"<{leave}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return message


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
