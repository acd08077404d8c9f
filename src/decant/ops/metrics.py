"""The metrics page: what :mod:`decant.ops.registry` counts, in the text format that Prometheus reads.

Needs prometheus-client: ``pip install 'quart-decant[metrics]'``. Each process has its own counts, as each has its own
page: scrape every one of them, not what balances the load between them.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import flask
import quart

from ..bridge import Threads
from ..context import on_quart
from ..errors import missing_extra
from .registry import Counter, counter

__all__ = ["Exposition", "add_metrics", "count_requests", "exposition"]

_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "WEBSOCKET"})
_EXTENSION: Final = "decant_requests"
_PLAIN: Final = "text/plain; charset=utf-8"
_collecting: Final = Threads(1, max_queued=100, may_wait=False)
Answer = tuple[bytes, int, dict[str, str]]


def exposition(accept: str = "") -> tuple[bytes, str]:
    """All metrics of this process, and their content type.

    :param accept: the request's ``Accept``, by which prometheus-client chooses between its format and OpenMetrics.
    :raises MissingExtra: without prometheus-client.
    """
    _require()
    from prometheus_client import REGISTRY
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    return encode(REGISTRY), content_type


def _require() -> None:
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise missing_extra("decant.ops.metrics", "metrics", error) from error


def _answer(headers: Any, token: str | None) -> Answer:
    """The body, the status and the headers."""
    given = headers.get("authorization", "")
    if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return b"a bearer token is needed\n", 401, {"WWW-Authenticate": "Bearer", "Content-Type": _PLAIN}
    body, content_type = exposition(headers.get("accept", ""))
    return body, 200, {"Content-Type": content_type, "Cache-Control": "no-store"}


def add_metrics(app: Any, path: str = "/metrics", *, token: str | None = None) -> None:
    """Add the page to a Quart or Flask application, and count the requests that it answers.

    :param token: who asks must send it, as ``Authorization: Bearer TOKEN``; ``None``: everybody may ask.
    :raises MissingExtra: without prometheus-client.
    """
    _require()
    count_requests(app)

    async def of_quart() -> Any:
        return await _collecting.run(_answer, dict(_lower(quart.request.headers)), token)

    def of_flask() -> Any:
        return _answer(dict(_lower(flask.request.headers)), token)

    app.add_url_rule(path, "decant_metrics", of_quart if on_quart(app) else of_flask)


def _lower(headers: Any) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers.items()]


class Exposition:
    """The page as an ASGI application of its own, for a port that only Prometheus reaches.

    :param token: as of :func:`add_metrics`.
    :raises MissingExtra: without prometheus-client.
    """

    def __init__(self, *, token: str | None = None) -> None:
        _require()
        self.token = token

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
        elif scope["type"] == "http":
            asked = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            body, status, headers = await _collecting.run(_answer, asked, self.token)
            given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            given.append((b"content-length", str(len(body)).encode()))
            await send({"type": "http.response.start", "status": status, "headers": given})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def count_requests(app: Any) -> None:
    """Count what a Quart or Flask application answers: ``decant_requests_total{half, endpoint, method}``.

    ``half`` is ``quart`` or ``flask``; ``endpoint`` that of the rule, or ``unrouted``; ``method`` is ``OTHER`` for one
    that HTTP does not define: the values are as many as the application's rules, whatever clients send. By the
    frameworks' signals, so what a middleware answers is not counted. Counts once, however often it is called.
    """
    if _EXTENSION in app.extensions:
        return
    requests = counter("decant_requests", "Requests and WebSockets, by who answered", ("half", "endpoint", "method"))
    app.extensions[_EXTENSION] = requests
    if on_quart(app):
        _count_quart(app, requests)
    else:

        def started(sender: Any, **rest: Any) -> None:
            _count(requests, "flask", flask.request.url_rule, flask.request.method)

        flask.request_started.connect(started, app, weak=False)


def _count_quart(app: Any, requests: Counter) -> None:
    # Coroutine functions: Quart sends what is none of these to a thread.
    async def started(sender: Any, **rest: Any) -> None:
        _count(requests, "quart", quart.request.url_rule, quart.request.method)

    async def opened(sender: Any, **rest: Any) -> None:
        _count(requests, "quart", quart.websocket.url_rule, "WEBSOCKET")

    quart.request_started.connect(started, app, weak=False)
    quart.websocket_started.connect(opened, app, weak=False)


def _count(requests: Counter, half: str, rule: Any, method: str) -> None:
    endpoint = "unrouted" if rule is None else rule.endpoint
    requests.inc(half=half, endpoint=endpoint, method=method if method in _METHODS else "OTHER")
