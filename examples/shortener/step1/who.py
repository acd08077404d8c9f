"""Who asks: by a bearer token, or by the session that Flask-Login keeps for both halves."""

from datetime import timedelta
from functools import wraps

from flask_login import current_user
from flask_wtf.csrf import validate_csrf
from shortener.api import refuse
from shortener.auth import send_to_login
from shortener.models import ApiToken, User, utcnow
from shortener.services import configured
from sqlalchemy import select
from wtforms import ValidationError

from decant.flask import waiting
from decant.quart import abort, g, request

from .extensions import csrf, db, limiter, login_manager


@login_manager.user_loader
@waiting  # Flask-Login calls it without await
async def load_user(identity):
    number, _, epoch = identity.partition(".")
    if not (number.isdecimal() and epoch.isdecimal() and len(number) < 10):
        return None
    user = await db.session.get(User, int(number))
    return user if user is not None and user.session_epoch == int(epoch) else None


def login_required(view):
    """Flask-Login's, as a decorator that awaits."""

    @wraps(view)
    async def wrapper(**arguments):
        if not current_user.is_authenticated:
            return send_to_login()
        return await view(**arguments)

    return wrapper


async def check_form():
    """Every form that pages send has the session's token. Before the limits, so that what has none does not count."""
    if request.endpoint and request.blueprint != "api":
        csrf.protect()


# -- the API ---------------------------------------------------------------------------------------------------------


@limiter.shared_limit(
    configured("RATE_API"),
    "api",
    key_func=lambda: g.api_caller,
    error_message="More requests than the API takes from you in this time. Retry-After says when to go on.",
)
async def count_request():
    """Counts in the same Redis, under the same keys, as the Flask half's."""


@limiter.shared_limit(
    configured("RATE_API_REFUSED"),
    "api-refused",
    error_message="Too many requests from your address had tokens that are not valid.",
)
async def count_refusal():
    """A request with a token that is nobody's."""


async def authenticate():
    """A request that brings an Authorization is judged by it alone, never by its cookies."""
    if request.method == "OPTIONS":
        return
    given = request.headers.get("Authorization")
    if given is not None:
        scheme, _, secret = given.strip().partition(" ")
        g.api_user = await user_of_token(secret.strip()) if scheme.lower() == "bearer" else None
        if g.api_user is None:
            await count_refusal()
            refuse("This token is not valid: it may have been revoked.", error="invalid_token")
        g.api_caller = f"token:{ApiToken.digest_of(secret.strip())[:32]}"
        await count_request()
        return
    if not current_user.is_authenticated:
        refuse("Send an API token, as in: Authorization: Bearer dct_…")
    g.api_user, g.api_caller = current_user._get_current_object(), f"user:{current_user.id}"
    await count_request()
    if request.method not in ("GET", "HEAD"):
        try:
            validate_csrf(request.headers.get("X-CSRF-Token") or request.headers.get("X-CSRFToken"))
        except ValidationError:
            abort(403, "With a session, a request that changes something needs the session's token in X-CSRF-Token.")


async def user_of_token(secret):
    query = select(ApiToken, User).join(User, User.id == ApiToken.owner_id)
    found = (await db.session.execute(query.where(ApiToken.digest == ApiToken.digest_of(secret)))).one_or_none()
    if found is None:
        return None
    token, user = found
    if token.last_used_at is None or token.last_used_at < utcnow() - timedelta(hours=1):
        token.last_used_at = utcnow()
        await db.session.commit()
    return user
