"""Who asks: by a bearer token, or by the session that Flask-Login keeps."""

from datetime import UTC, datetime, timedelta
from hmac import compare_digest

from itsdangerous import BadData, URLSafeTimedSerializer
from quart import abort, current_app, g, request, session
from shortener.models import ApiToken, User
from sqlalchemy import select
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from .extensions import db, limiter


def configured(key):
    return lambda: current_app.config[key]


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
    else:
        g.api_user = await user_of_session()
        if g.api_user is None:
            refuse("Send an API token, as in: Authorization: Bearer dct_…")
        g.api_caller = f"user:{g.api_user.id}"
    await count_request()
    if given is None and request.method not in ("GET", "HEAD") and not is_csrf_token(sent_token()):
        abort(403, "With a session, a request that changes something needs the session's token in X-CSRF-Token.")


def sent_token():
    return request.headers.get("X-CSRF-Token") or request.headers.get("X-CSRFToken") or ""


def is_csrf_token(token):
    """Whether Flask-WTF has made it for this session."""
    try:
        given = URLSafeTimedSerializer(current_app.secret_key, salt="wtf-csrf-token").loads(token)
    except BadData:
        return False
    return compare_digest(str(given), str(session.get("csrf_token")))


async def user_of_token(secret):
    query = select(ApiToken, User).join(User, User.id == ApiToken.owner_id)
    found = (await db.session.execute(query.where(ApiToken.digest == ApiToken.digest_of(secret)))).one_or_none()
    if found is None:
        return None
    token, user = found
    now = datetime.now(UTC)
    if token.last_used_at is None or token.last_used_at < now - timedelta(hours=1):
        token.last_used_at = now
        await db.session.commit()
    return user


async def user_of_session():
    """Who is logged in: Flask-Login keeps User.get_id() in the session."""
    number, _, epoch = str(session.get("_user_id", "")).partition(".")
    if not (number.isdecimal() and epoch.isdecimal() and len(number) < 10):
        return None
    user = await db.session.get(User, int(number))
    return user if user is not None and user.session_epoch == int(epoch) else None


def refuse(detail, **more):
    raise Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "api", **more}))
