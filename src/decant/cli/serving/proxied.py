"""``--proxy-headers``: the client's address, scheme and host as the proxies in front say them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.middleware import ProxyFixMiddleware

__all__ = ["behind_proxies"]

Call = Callable[..., Awaitable[None]]
_OF_WEBSOCKETS = {"http": "ws", "https": "wss"}


def behind_proxies(app: Call, hops: int) -> Call:
    """Hypercorn's ``ProxyFixMiddleware``: the ``X-Forwarded-…`` of the proxy that is ``hops`` hops away.

    What the lifespan has put into ``scope["state"]`` is passed by it, which copies the scope deeply.
    """

    async def fixed(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        kept = {key: value for key, value in scope.items() if key not in ("headers", "client", "scheme")}

        async def restored(copied: dict[str, Any], receive: Any, send: Any) -> None:
            fixed_scope = {**copied, **kept}
            if scope["type"] == "websocket":  # proxies say http and https of these, too
                fixed_scope["scheme"] = _OF_WEBSOCKETS.get(copied["scheme"], copied["scheme"])
            await app(fixed_scope, receive, send)

        few = {key: scope[key] for key in ("type", "headers", "client", "scheme") if key in scope}
        inner: Any = restored
        await ProxyFixMiddleware(inner, mode="legacy", trusted_hops=hops)(few, receive, send)  # type: ignore[arg-type]

    return fixed
