"""Who is logged in: a session holds the user's id and the epoch in which it was made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec
from urllib.parse import urlsplit

from quart import Quart, abort, g, redirect, request, session, url_for
from quart.typing import ResponseReturnValue

from ..extensions import db
from ..models import User
from ..web.csrf import renew_token

__all__ = [
    "admins_only",
    "current_user",
    "init_current",
    "login",
    "login_required",
    "logout",
    "require_user",
    "safe_next",
]

P = ParamSpec("P")


async def current_user() -> User | None:
    """The user of this request's session, or None; the database is asked once per request."""
    if "user" not in g:
        g.user = await _load()
    user: User | None = g.user
    return user


async def _load() -> User | None:
    identity, epoch = session.get("user_id"), session.get("epoch")
    if not isinstance(identity, int) or not 0 < identity < 2**63:
        return None
    user: User | None = await db.session.get(User, identity)
    if user is None or user.session_epoch != epoch:
        session.clear()  # deleted, or logged out everywhere since
        return None
    return user


async def require_user() -> User:
    """The logged-in user, in a view behind :func:`login_required`."""
    user = await current_user()
    if user is None:
        abort(401)
    return user


def login(user: User) -> None:
    """Begin a session: nothing of the one before is kept, least of all what somebody may have planted in it."""
    session.clear()
    session.permanent = True
    session["user_id"] = user.id
    session["epoch"] = user.session_epoch
    renew_token()
    g.user = user


def logout() -> None:
    """End this browser's session."""
    session.clear()
    g.user = None


def login_required(
    view: Callable[P, Awaitable[ResponseReturnValue]],
) -> Callable[P, Awaitable[ResponseReturnValue]]:
    """Send who is not logged in to the log-in page, and back afterwards."""

    @wraps(view)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if await current_user() is None:
            after = request.full_path.rstrip("?") if request.method == "GET" else None
            return redirect(url_for("accounts.login_page", next=after), 303)
        return await view(*args, **kwargs)

    return wrapper


async def admins_only() -> bool | ResponseReturnValue:
    """The guard of pages for administrators: others are refused, and who is not logged in is sent to do so."""
    user = await current_user()
    if user is None:
        return redirect(url_for("accounts.login_page", next=request.path), 303)
    return user.is_admin


def safe_next(value: str | None) -> str | None:
    """``next=`` if it is a path of this site, else None: nobody is sent elsewhere by a link to our log-in page."""
    if not value or len(value) > 2000 or not value.startswith("/") or value.startswith("//") or "\\" in value:
        return None
    if any(ord(char) < 0x21 or ord(char) == 0x7F for char in value):
        return None  # browsers drop tabs and line breaks: "/\t/elsewhere" would become "//elsewhere"
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return value if not parts.scheme and not parts.netloc else None


def init_current(app: Quart) -> None:
    """Templates know the user as ``user``."""

    @app.context_processor
    async def user() -> dict[str, User | None]:
        return {"user": await current_user()}
