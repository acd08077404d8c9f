"""What can be done with accounts, for pages and for the command line."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from ..extensions import db
from ..models import User
from ..web.forms import Invalid, Refused, check
from . import rules
from .passwords import passwords

__all__ = ["authenticate", "by_name", "change_password", "end_sessions", "register"]


async def by_name(name: str) -> User | None:
    """The user of that name, in whatever case it is written."""
    user: User | None = await db.session.scalar(select(User).where(User.username == name.strip().lower()))
    return user


async def register(username: str, password: str, *, is_admin: bool = False) -> User:
    """A new account.

    :raises Invalid: with a sentence for each field that is wrong, or if the name is taken.
    """
    errors: dict[str, str] = {}
    name = check(errors, "username", rules.username, username)
    checked = check(errors, "password", rules.new_password, password, user=name)
    if name is not None and await by_name(name) is not None:
        errors["username"] = _taken(name)
    if errors or name is None or checked is None:
        raise Invalid(errors)
    await db.session.commit()  # gives the connection back: hashing may queue
    hashed = await passwords().hash(checked)
    user = User(username=name, password_hash=hashed, is_admin=is_admin, session_epoch=0)
    db.session.add(user)
    try:
        await db.session.commit()
    except IntegrityError:  # somebody else took it while the password was hashed
        await db.session.rollback()
        raise Invalid({"username": _taken(name)}) from None
    return user


def _taken(name: str) -> str:
    return f"The user name {name} is taken. Choose another."


async def authenticate(username: str, password: str) -> User | None:
    """The user, if the password is right; it is rehashed if it was hashed with other parameters than today's."""
    if len(password) > rules.LONGEST_PASSWORD:
        return None
    try:
        user = await by_name(rules.username(username))
    except Refused:
        user = None  # takes as long as any other wrong name
    service = passwords()
    await db.session.commit()  # gives the connection back: hashing may queue
    if not await service.verify(user.password_hash if user else None, password) or user is None:
        return None
    if service.outdated(user.password_hash):
        user.password_hash = await service.hash(password)
        await db.session.commit()
    return user


async def change_password(user: User, current: str, new: str) -> None:
    """Change it, and end every session of the user.

    :raises Invalid: if the current one is wrong or the new one is refused.
    """
    errors: dict[str, str] = {}
    await db.session.commit()  # gives the connection back: hashing may queue
    checked = check(errors, "new_password", rules.new_password, new, user=user.username)
    if len(current) > rules.LONGEST_PASSWORD or not await passwords().verify(user.password_hash, current):
        errors["current_password"] = "This is not your password."  # noqa: S105
    if errors or checked is None:
        raise Invalid(errors)
    user.password_hash = await passwords().hash(checked)
    await end_sessions(user)


async def end_sessions(user: User) -> None:
    """Log the user out everywhere: cookies hold the epoch in which they were made."""
    query = update(User).where(User.id == user.id).values(session_epoch=User.session_epoch + 1)
    user.session_epoch = await db.session.scalar(query.returning(User.session_epoch))  # type: ignore[assignment]
    await db.session.commit()
