"""Links in mails that act for who received them: signed, so that nobody else can make them."""

from __future__ import annotations

from datetime import timedelta

from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer
from quart import Quart

__all__ = ["CONFIRM_WITHIN", "confirmation_of", "confirmation_token", "unsubscribe_token", "unsubscription_of"]

CONFIRM_WITHIN = timedelta(days=3)


def confirmation_token(app: Quart, user_id: int, email: str) -> str:
    """Says that whoever has it reads the mail of this address; good for :data:`CONFIRM_WITHIN`."""
    return str(_confirming(app).dumps([user_id, email]))


def confirmation_of(app: Quart, token: str) -> tuple[int, str] | None:
    """The user and the address; None if it is no such token, or too old."""
    try:
        user_id, email = _confirming(app).loads(token, max_age=int(CONFIRM_WITHIN.total_seconds()))
    except (BadSignature, ValueError):
        return None
    return user_id, email


def unsubscribe_token(app: Quart, user_id: int, email: str) -> str:
    """Ends the summaries to this address, for ever: a mail may be found years later."""
    return str(_leaving(app).dumps([user_id, email]))


def unsubscription_of(app: Quart, token: str) -> tuple[int, str] | None:
    """The user and the address; None if it is no such token."""
    try:
        user_id, email = _leaving(app).loads(token)
    except (BadSignature, ValueError):
        return None
    return user_id, email


def _confirming(app: Quart) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(app.config["SECRET_KEY"], salt="app.mail.confirm")


def _leaving(app: Quart) -> URLSafeSerializer:
    return URLSafeSerializer(app.config["SECRET_KEY"], salt="app.mail.unsubscribe")
