"""API tokens: shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, or_, select, update

from ..extensions import db
from ..models import ApiToken, User
from ..web.forms import Invalid, check
from . import rules

__all__ = ["MOST_TOKENS", "authenticate", "create", "of_user", "revoke"]

MOST_TOKENS = 50
_FORM = re.compile(r"dct_[A-Za-z0-9_-]{43}")
_FRESH = timedelta(hours=1)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def create(owner: User, name: str) -> tuple[ApiToken, str]:
    """A new token and its secret, which cannot be had again.

    :raises Invalid: for a bad name, or if the owner has :data:`MOST_TOKENS` already.
    """
    errors: dict[str, str] = {}
    checked = check(errors, "name", rules.token_name, name)
    # One at a time, or several could be the last.
    await db.session.execute(select(User.id).where(User.id == owner.id).with_for_update(key_share=True))
    count = await db.session.scalar(select(func.count()).select_from(ApiToken).where(ApiToken.owner_id == owner.id))
    if (count or 0) >= MOST_TOKENS:
        errors.setdefault("name", f"You have {MOST_TOKENS} tokens. Revoke one that you no longer use first.")
    if errors or checked is None:
        raise Invalid(errors)
    secret = "dct_" + secrets.token_urlsafe(32)
    token = ApiToken(owner_id=owner.id, name=checked, hint=secret[:10], digest=_digest(secret))
    db.session.add(token)
    await db.session.commit()
    return token, secret


async def of_user(owner: User) -> Sequence[ApiToken]:
    """The owner's tokens, the newest first."""
    query = select(ApiToken).where(ApiToken.owner_id == owner.id).order_by(ApiToken.id.desc())
    return (await db.session.scalars(query)).all()


async def revoke(owner: User, identity: int) -> bool:
    """Delete one of the owner's tokens; whether there was one."""
    query = delete(ApiToken).where(ApiToken.id == identity, ApiToken.owner_id == owner.id)
    done = await db.session.scalar(query.returning(ApiToken.id))
    await db.session.commit()
    return done is not None


def fingerprint(secret: str) -> str:
    """What stands for a token in keys: nothing that could be used in its place."""
    return _digest(secret).hex()[:32]


async def authenticate(secret: str) -> User | None:
    """Whose token it is; None if nobody's."""
    if not _FORM.fullmatch(secret):
        return None
    query = select(ApiToken, User).join(User, User.id == ApiToken.owner_id).where(ApiToken.digest == _digest(secret))
    found = (await db.session.execute(query)).one_or_none()
    if found is None:
        return None
    token, user = found
    now = datetime.now(UTC)
    if token.last_used_at is None or token.last_used_at < now - _FRESH:
        stale = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < now - _FRESH)
        await db.session.execute(update(ApiToken).where(ApiToken.id == token.id, stale).values(last_used_at=now))
        await db.session.commit()
    return user
