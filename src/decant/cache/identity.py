"""Who asks. What is made for one person is never given to another."""

from __future__ import annotations

import hashlib
from typing import Any

from ..context import current_app, current_request, current_session
from ..faces import called
from .serializers import MsgpackSerializer
from .settings import Settings

__all__ = ["has_identity", "session_now", "user_key"]

_encode = MsgpackSerializer().dumps


def has_identity() -> bool:
    """Whether the request says who asks: by a session that holds something, or by an ``Authorization`` header.

    The framework then adds ``Vary: Cookie``, so that caches on the way keep such answers apart, too.
    """
    return "Authorization" in current_request().headers or bool(_session())


def _session() -> Any:
    session = current_session()
    return session if session is not None else {}


def session_now() -> tuple[dict[str, Any], bool]:
    """What the session holds, and whether it says of itself that it was changed: compared before and after a view."""
    session = _session()
    return dict(session), bool(vars(session).get("modified")) if hasattr(session, "__dict__") else False


async def user_key(settings: Settings, per_user: Any) -> str | None:
    """What the key of a view that is ``per_user`` gets: one text per user, without showing who it is.

    ``per_user`` is ``True`` or a function that returns who asks. ``None`` if that cannot be told safely.
    """
    who = per_user if callable(per_user) else settings.user_id
    try:
        if who is not None:
            given = await called(who)
            identity = "anonymous" if given is None else f"id {given}"
        else:
            request = current_request()
            session = dict(_session())
            session.pop("_flashes", None)
            authorization = request.headers.get("Authorization")
            identity = (
                _encode([authorization, sorted(session.items())]).hex() if session or authorization else "anonymous"
            )
    except TypeError:  # the session holds what cannot be compared or encoded
        return None
    secret = str(current_app().secret_key or "")
    return hashlib.blake2b(identity.encode(), key=secret.encode()[:64], digest_size=16).hexdigest()
