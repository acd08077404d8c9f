"""Around the application: a file that everybody may keep goes out without one client's session cookie.

Sessions are saved after the last hook, so that neither a view nor a hook can keep their cookie off a response.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["SHARED", "AsgiDoor", "Shared", "WsgiDoor"]

SHARED: Final = "decant.cdn"
"""The key of the :class:`Shared` in the ASGI scope or WSGI environment."""
Message = MutableMapping[str, Any]


@dataclass
class Shared:
    """Whether the response of a request may be kept by caches that serve many."""

    response: bool = False


def _impersonal(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    kept = []
    for name, value in headers:
        if name.lower() == "vary":
            value = ", ".join(one for one in map(str.strip, value.split(",")) if one.lower() != "cookie")
        if name.lower() != "set-cookie" and (value or name.lower() != "vary"):
            kept.append((name, value))
    return kept


class AsgiDoor:
    """Around ``asgi_app`` of a Quart application."""

    def __init__(self, app: Any) -> None:
        self.inner = app.asgi_app

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Any, send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        shared = Shared()

        async def impersonal(message: Message) -> None:
            if shared.response and message["type"] == "http.response.start":
                headers = _impersonal(
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
                )
                encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
                message = {**message, "headers": encoded}
            await send(message)

        await self.inner({**scope, SHARED: shared}, receive, impersonal)


class WsgiDoor:
    """Around ``wsgi_app`` of a Flask application."""

    def __init__(self, app: Any) -> None:
        self.inner = app.wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        shared = environ[SHARED] = Shared()

        def impersonal(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, _impersonal(headers) if shared.response else headers, *error)

        inner: Iterable[bytes] = self.inner(environ, impersonal)
        return inner
