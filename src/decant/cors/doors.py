"""Before and behind the application: preflight requests are answered here, and no response leaves without headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from werkzeug.datastructures import EnvironHeaders, Headers

from .headers import ALLOW_ORIGIN, headers_for, is_preflight
from .rules import PASSAGE, Passage, Rules

__all__ = ["AsgiDoor", "WsgiDoor"]

Message = MutableMapping[str, Any]
_HTML = "text/html; charset=utf-8"


def _missed(rules: Rules, path: str, asked: Any, method: str, has: Callable[[str], bool]) -> Headers:
    """The headers that a response which passed no hook still lacks."""
    if not has(ALLOW_ORIGIN.lower()):
        for options in rules.missed(path):
            headers = headers_for(options, asked, method)
            if ALLOW_ORIGIN in headers:
                return headers
    return Headers()


class AsgiDoor:
    """Around ``asgi_app`` of a Quart application."""

    def __init__(self, app: Any, rules: Rules) -> None:
        self.app, self.rules, self.inner = app, rules, app.asgi_app

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        path = _path(scope) if scope["type"] == "http" else None
        if path is None:
            await self.inner(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and is_preflight("OPTIONS", asked := _decoded(scope)):
            answer = self.rules.preflight(self.app, self._request(scope, path, asked))
            if answer is not None:
                answer.extend({"Content-Type": _HTML, "Content-Length": "0"})
                await send({"type": "http.response.start", "status": 200, "headers": _encoded(answer)})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        passage = Passage()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and not passage.evaluated:
                present = {name.lower() for name, _ in message["headers"]}
                missed = _missed(
                    self.rules, path, _decoded(scope), scope["method"], lambda name: name.encode() in present
                )
                message = {**message, "headers": [*message["headers"], *_encoded(missed)]}
            await send(message)

        await self.inner({**scope, PASSAGE: passage}, receive, with_headers)

    def _request(self, scope: MutableMapping[str, Any], path: str, asked: Headers) -> Any:
        return self.app.request_class(
            scope["method"],
            scope["scheme"],
            path,
            scope["query_string"],
            asked,
            scope.get("root_path", ""),
            scope["http_version"],
            scope,
            send_push_promise=_no_push,
        )


class WsgiDoor:
    """Around ``wsgi_app`` of a Flask application."""

    def __init__(self, app: Any, rules: Rules) -> None:
        self.app, self.rules, self.inner = app, rules, app.wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked, method = EnvironHeaders(environ), environ["REQUEST_METHOD"]
        if is_preflight(method, asked):
            answer = self.rules.preflight(self.app, self.app.request_class(environ))
            if answer is not None:
                answer.extend({"Content-Type": _HTML, "Content-Length": "0"})
                start_response("200 OK", answer.to_wsgi_list())
                return []
        passage = environ[PASSAGE] = Passage()

        def with_headers(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            if not passage.evaluated:
                present = {name.lower() for name, _ in headers}
                path = environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")
                missed = _missed(self.rules, path, asked, method, present.__contains__)
                headers = [*headers, *missed.to_wsgi_list()]
            return start_response(status, headers, *error)

        inner: Iterable[bytes] = self.inner(environ, with_headers)
        return inner


def _path(scope: MutableMapping[str, Any]) -> str | None:
    """The path below the application's mount path; None for what is not below it."""
    path, root = scope["path"] or "/", scope.get("root_path", "").rstrip("/")
    if not root:
        return str(path)
    if path == root:
        return "/"
    return str(path).removeprefix(root) if path.startswith(f"{root}/") else None


def _decoded(scope: MutableMapping[str, Any]) -> Headers:
    return Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _no_push(path: str, headers: Headers) -> None:
    """A preflight request's answer pushes nothing."""
