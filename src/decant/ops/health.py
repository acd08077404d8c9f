"""``/healthz`` and ``/readyz``: what supervisors and proxies ask a process.

``/healthz``: the process answers, nothing else is asked. ``/readyz``: 200 while what the application needs is well or
can be done without, 503 while it is not, with the state of each check. What failed is logged, not told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..bridge import wait
from ..context import on_quart
from .checks import add_checks
from .registry import Readiness, check_readiness

__all__ = ["Health", "health"]

_RETRY_AFTER_S: Final = 5
_PLAIN: Final = "text/plain; charset=utf-8"
logger = logging.getLogger("decant.health")
Answer = tuple[int, bytes, dict[str, str]]
_LIVE: Final[Answer] = (200, b"ok\n", {"Content-Type": _PLAIN, "Cache-Control": "no-store"})


def health(
    app: Any,
    *,
    live: str = "/healthz",
    ready: str = "/readyz",
    timeout_s: float = 2.0,
    migrations: bool = True,
) -> None:
    """Give a Quart or Flask application the two routes, and the checks of what its extensions show that it needs.

    Call it after the extensions are initialised. More checks: :func:`decant.ops.registry.readiness`, with ``app=``.
    The endpoints are ``healthz`` and ``readyz``; where ``before_request`` refuses the unknown, let these pass.

    :param timeout_s: what each check may take; one that takes longer has failed.
    :param migrations: whether a database that lacks revisions of the folder of migrations makes it unready.
    """
    add_checks(app, migrations=migrations)
    if on_quart(app):

        async def healthz() -> Any:
            return app.response_class(_LIVE[1], _LIVE[0], _LIVE[2])

        async def readyz() -> Any:
            status, body, headers = await _readiness(app, timeout_s)
            return app.response_class(body, status, headers)

        app.add_url_rule(live, "healthz", healthz)
        app.add_url_rule(ready, "readyz", readyz)
        return

    def healthz_of_flask() -> Any:
        return _LIVE[1], _LIVE[0], _LIVE[2]

    def readyz_of_flask() -> Any:
        status, body, headers = wait(_readiness(app, timeout_s))
        return body, status, headers

    app.add_url_rule(live, "healthz", healthz_of_flask)
    app.add_url_rule(ready, "readyz", readyz_of_flask)


class Health:
    """ASGI middleware that answers the two before the application is asked: for one that is not to be changed.

    It does so while every thread of the application is busy, and whatever its ``before_request`` functions refuse.

    :param asgi: what answers the rest, as :func:`decant.flask.asgi` makes it.
    :param app: the Quart or Flask application whose checks are asked; ``None``: those of the process alone.
    """

    def __init__(
        self,
        asgi: Callable[..., Awaitable[None]],
        *,
        app: Any = None,
        live: str = "/healthz",
        ready: str = "/readyz",
        timeout_s: float = 2.0,
        migrations: bool = True,
    ) -> None:
        self.asgi, self.live, self.ready, self.timeout_s = asgi, live, ready, timeout_s
        self.app = app if hasattr(app, "extensions") else None
        if self.app is not None:
            add_checks(self.app, migrations=migrations)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path") if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        if path == self.live:
            answer = _LIVE
        elif path == self.ready:
            answer = await _readiness(self.app, self.timeout_s)
        else:
            await self.asgi(scope, receive, send)
            return
        status, body, headers = answer
        given = {**headers, "Content-Length": str(len(body))}
        head = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})


async def _readiness(app: Any, timeout_s: float) -> Answer:
    results = await check_readiness(timeout_s, app=app)
    _log(app, results)
    failed = any(result.state == "failed" for result in results.values())
    checks = {name: result.state for name, result in results.items()}
    body = json.dumps({"ready": not failed, "checks": checks}).encode() + b"\n"
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return (503, body, {**headers, "Retry-After": str(_RETRY_AFTER_S)}) if failed else (200, body, headers)


_of_process: Final[dict[str, str]] = {}


def _log(app: Any, results: dict[str, Readiness]) -> None:
    """A line where a check's state has changed."""
    before = _of_process if app is None else app.extensions.setdefault("decant_health", {})
    for name, result in results.items():
        if result.state != before.get(name, "ok"):
            level = logging.INFO if result.state == "ok" else logging.WARNING
            logger.log(level, "%s is %s%s", name, result.state, f": {result.text}" if result.text else " again")
        before[name] = result.state
