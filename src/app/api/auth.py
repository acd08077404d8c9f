"""Who asks: by a bearer token, or by the session of our own pages, which then need the CSRF token as a header."""

from __future__ import annotations

from typing import NoReturn

from quart import abort, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from ..accounts import current_user, tokens
from ..web import csrf
from .limits import count_refusal, count_request

__all__ = ["authenticate"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def authenticate() -> None:
    """Before every request of the API: 401 unless somebody is known, 403 for what another site may have sent.

    429 for who asks too often: a token, a user in our own pages, or an address with tokens that are not valid.

    A request that brings an ``Authorization`` is judged by it alone, never by its cookies.
    """
    if request.method == "OPTIONS":
        return  # says which methods there are, and does nothing
    if (given := request.headers.get("Authorization")) is not None:
        scheme, _, secret = given.strip().partition(" ")
        user = await tokens.authenticate(secret.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            await count_refusal()
            _refuse("This token is not valid: it may have been revoked.", error="invalid_token")
        g.user = user
        await count_request(f"token:{tokens.fingerprint(secret.strip())}")
        return
    if (user := await current_user()) is None:
        _refuse("Send an API token, as in: Authorization: Bearer dct_…")
    await count_request(f"user:{user.id}")
    if request.method not in _SAFE:
        csrf.refuse_foreign()
        if not csrf.is_token(request.headers.get("X-CSRF-Token", "")):
            abort(403, "With a session, a request that changes something needs the session's token in X-CSRF-Token.")


def _refuse(detail: str, **parameters: str) -> NoReturn:
    challenge = WWWAuthenticate("bearer", {"realm": "api", **parameters})
    raise Unauthorized(detail, www_authenticate=challenge)
