"""What user names and passwords may be."""

from __future__ import annotations

import re

from ..mail.addresses import address
from ..web.forms import Refused, plain_text

__all__ = [
    "DIGESTS",
    "LONGEST_PASSWORD",
    "SHORTEST_PASSWORD",
    "digest",
    "email",
    "new_password",
    "token_name",
    "username",
]

DIGESTS = ("off", "daily", "weekly")

SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 1000
_USERNAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")
# The most used ones that are long enough to pass otherwise.
_COMMON = frozenset(
    """
    1234567890 0123456789 12345678910 123456789a 1q2w3e4r5t 1qaz2wsx3edc qwertyuiop qwerty123456 qwertyuiop123
    password12 password123 password1234 passw0rd123 iloveyou123 letmein123 welcome123 adminadmin administrator
    changeme123 unknown1234 football123 baseball123 sunshine123 princess123 abcdefghij abcdef12345 asdfghjkl1
    """.split()  # noqa: SIM905
)


def username(value: str) -> str:
    """A user name in lower case: 3–32 letters a–z, digits, ``-`` and ``_``, the ends letters or digits."""
    name = value.strip().lower()
    if not 3 <= len(name) <= 32:
        raise Refused("Choose a user name of 3 to 32 characters.")
    if not _USERNAME.fullmatch(name):
        raise Refused("A user name has only letters a–z, digits, - and _, and begins and ends with a letter or digit.")
    return name


def new_password(value: str, *, user: str | None) -> str:
    """A password of 10–1000 characters that is none of the most common ones and not the user's name."""
    if len(value) < SHORTEST_PASSWORD:
        raise Refused(f"Choose a password of at least {SHORTEST_PASSWORD} characters; this one has {len(value)}.")
    if len(value) > LONGEST_PASSWORD:
        raise Refused(f"A password may have at most {LONGEST_PASSWORD} characters; this one has {len(value)}.")
    folded = value.lower()
    if folded in _COMMON or len(set(folded)) < 4:
        raise Refused("This password is one of the first that would be guessed. Choose another.")
    if user and (user in folded and len(folded) < len(user) + 6):
        raise Refused("Choose a password that is not your user name.")
    return value


def token_name(value: str) -> str:
    """What a token is for, 1–64 characters."""
    name = plain_text(value, most=64, what="A name")
    if not name:
        raise Refused("Say what the token is for, so that you know later which one to revoke.")
    return name


def email(value: str) -> str | None:
    """An e-mail address in its normal form, or None."""
    if not value.strip():
        return None
    try:
        return address(value)
    except ValueError as error:
        raise Refused(str(error)) from None


def digest(value: str) -> str:
    """How often a summary is mailed: one of :data:`DIGESTS`."""
    if value not in DIGESTS:
        raise Refused("Choose one of: never, every day, every week.")
    return value
