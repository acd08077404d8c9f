"""The session: Flask's signed cookie, so that a Flask half of the application reads and writes the same one."""

from __future__ import annotations

from quart import Quart, Response, has_request_context, request
from quart.sessions import SecureCookieSessionInterface, SessionMixin
from werkzeug.wrappers import Response as WerkzeugResponse

__all__ = ["Sessions", "is_loopback"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_loopback(host: str) -> bool:
    """Whether a ``Host`` header names this very machine."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name.lower() in _LOOPBACK


class Sessions(SecureCookieSessionInterface):
    """Quart's own session, whose cookie is ``Secure`` except where that would lose it.

    ``SESSION_COOKIE_SECURE`` decides where it is set. Where it is None the cookie is ``Secure`` unless the
    request came over plain HTTP to a loopback name, as in development.
    """

    def get_cookie_secure(self, app: Quart) -> bool:
        configured: bool | None = app.config["SESSION_COOKIE_SECURE"]
        if configured is not None:
            return configured
        return not (has_request_context() and request.scheme == "http" and is_loopback(request.host))

    async def save_session(
        self, app: Quart, session: SessionMixin, response: Response | WerkzeugResponse | None
    ) -> None:
        """Save it, but never in a response that caches may give to everybody.

        Quart 0.23 says ``Vary: Cookie`` on every response, files included, which keeps them out of shared caches.
        """
        if response is None or not response.cache_control.public:
            await super().save_session(app, session, response)
