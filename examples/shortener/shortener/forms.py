"""The forms of the pages. What a link may be is in LinkFields, which the API and imports use as well."""

import re
import unicodedata
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import Form, HiddenField, PasswordField, StringField
from wtforms.validators import DataRequired, ValidationError

from .models import User, utcnow
from .urls import check_slug, check_target, own_hosts

COMMON_PASSWORDS = """
    1234567890 0123456789 12345678910 123456789a 1q2w3e4r5t 1qaz2wsx3edc qwertyuiop qwerty123456 password12
    password123 password1234 passw0rd123 iloveyou123 letmein123 welcome123 adminadmin administrator changeme123
    football123 baseball123 sunshine123 princess123 abcdefghij abcdef12345 asdfghjkl1
"""
MOST_TAGS, LONGEST_TAG, LONGEST_TITLE, MOST_VISITS = 10, 32, 200, 1_000_000_000


def one_line(value, most, what):
    """A line of text without control characters. Raises ValidationError."""
    value = unicodedata.normalize("NFC", value or "").strip()
    if len(value) > most:
        raise ValidationError(f"{what} may have at most {most} characters; this one has {len(value)}.")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in value):
        raise ValidationError(f"{what} may not have line breaks or control characters.")
    return value


def check_password(value, username):
    folded = value.lower()
    if not 10 <= len(value) <= 1000:
        raise ValidationError(f"Choose a password of 10 to 1000 characters; this one has {len(value)}.")
    if folded in COMMON_PASSWORDS.split() or len(set(folded)) < 4:
        raise ValidationError("This password is one of the first that would be guessed. Choose another.")
    if username and username in folded and len(folded) < len(username) + 6:
        raise ValidationError("Choose a password that is not your user name.")


@lru_cache
def zone_names():
    return sorted(zoneinfo.available_timezones() - {"localtime"})


class RegisterForm(FlaskForm):
    username = StringField("User name", [DataRequired("Choose a user name.")])
    password = PasswordField("Password", [DataRequired("Choose a password.")])

    @property
    def name(self):
        return (self.username.data or "").strip().lower()

    def validate_username(self, field):
        if not re.fullmatch(r"[a-z0-9](?:[a-z0-9_-]{1,30})[a-z0-9]", self.name):
            raise ValidationError(
                "A user name has 3 to 32 letters a–z, digits, - and _, and begins and ends with a letter or digit."
            )
        if User.query.filter_by(username=self.name).first() is not None:
            raise ValidationError(f"The user name {self.name} is taken. Choose another.")

    def validate_password(self, field):
        check_password(field.data, self.name)


class LoginForm(FlaskForm):
    username = StringField("User name")
    password = PasswordField("Password")
    next = HiddenField()

    @property
    def name(self):
        """The name as it is kept; none that nobody can have goes to the database."""
        name = (self.username.data or "").strip().lower()
        return name if re.fullmatch(r"[a-z0-9_-]{3,32}", name) else None


class PasswordForm(FlaskForm):
    current_password = PasswordField("Current password", [DataRequired("Give your current password.")])
    new_password = PasswordField("New password", [DataRequired("Choose a password.")])

    def __init__(self, user, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.user = user

    def validate_current_password(self, field):
        if len(field.data) > 1000 or not self.user.check_password(field.data):
            raise ValidationError("This is not your password.")

    def validate_new_password(self, field):
        check_password(field.data, self.user.username)


class TokenForm(FlaskForm):
    name = StringField("What is it for?")

    def validate_name(self, field):
        field.data = one_line(field.data, 64, "A name")
        if not field.data:
            raise ValidationError("Say what the token is for, so that you know later which one to revoke.")


class ImportForm(FlaskForm):
    file = FileField("File")


class LinkFields(Form):
    """``clean`` has the checked values. An edited link keeps its slug, and may keep an expiry that is over."""

    target = StringField("Address")
    slug = StringField("Short name")
    title = StringField("Title")
    tags = StringField("Tags")
    expires_at = StringField("Ends at")
    timezone = StringField("in the time zone", default="UTC")
    max_visits = StringField("Ends after visits")

    def __init__(self, *args, link=None, hosts=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.link = link
        self.hosts = hosts if hosts is not None else own_hosts()
        self.clean = {}
        if link is not None:
            del self.slug

    def validate_target(self, field):
        self.clean["target"] = check_target(field.data or "", self.hosts)

    def validate_slug(self, field):
        self.clean["slug"] = check_slug(field.data or "")

    def validate_title(self, field):
        self.clean["title"] = one_line(field.data, LONGEST_TITLE, "A title") or None

    def validate_tags(self, field):
        names = {one_line(name, LONGEST_TAG, "A tag").lower() for name in (field.data or "").split(",")} - {""}
        if len(names) > MOST_TAGS:
            raise ValidationError(f"A link may have at most {MOST_TAGS} tags; these are {len(names)}.")
        if any(len(name) > LONGEST_TAG for name in names):  # a few letters grow in lower case
            raise ValidationError(f"A tag may have at most {LONGEST_TAG} characters.")
        self.clean["tags"] = sorted(names)

    def validate_expires_at(self, field):
        text = (field.data or "").strip()
        if not text:
            self.clean["expires_at"] = None
            return
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValidationError(f"{text[:40]!r} is not a date and time: 2030-12-31T23:59") from None
        if moment.tzinfo is None:
            zone = (self.timezone.data or "").strip() or "UTC"
            if zone not in zone_names():
                raise ValidationError(f"{zone[:40]!r} is not a time zone: Europe/Berlin, America/New_York, UTC, …")
            moment = moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))
        try:
            moment = moment.astimezone(UTC)
        except (OverflowError, ValueError):
            raise ValidationError("The year is out of range.") from None
        if moment <= utcnow() and not (self.link and self.link.expires_at == moment):
            raise ValidationError("The link would have expired already. Choose a moment in the future.")
        if moment > utcnow() + timedelta(days=100 * 366):
            raise ValidationError("Choose a moment in the next hundred years, or none.")
        self.clean["expires_at"] = moment

    def validate_max_visits(self, field):
        text = (field.data or "").strip()
        if text and not (re.fullmatch(r"[0-9]{1,12}", text) and 1 <= int(text) <= MOST_VISITS):
            raise ValidationError(f"Give a whole number from 1 to {MOST_VISITS:,}, or nothing for no limit.")
        self.clean["max_visits"] = int(text) if text else None


class LinkForm(LinkFields, FlaskForm):
    """The same with a CSRF token, as a page's form."""

    @classmethod
    def of(cls, link):
        """The form of a link, filled with what it is now."""
        return cls(
            link=link,
            data={
                "target": link.target,
                "title": link.title,
                "tags": ", ".join(tag.name for tag in link.tags),
                "expires_at": link.expires_at.strftime("%Y-%m-%dT%H:%M:%S") if link.expires_at else "",
                "timezone": "UTC",
                "max_visits": link.max_visits or "",
            },
        )
