"""Errors: a page for people, ``application/problem+json`` (RFC 9457) for programs."""

from __future__ import annotations

from typing import Any

from quart import Quart, Response, g, has_request_context, jsonify, render_template, request
from quart.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, InternalServerError

from decant.errors import Overloaded, Unavailable

from .forms import Invalid
from .gate import request_id

__all__ = ["init_errors", "problem", "wants_problem"]

_JSON = ("application/problem+json", "application/json")


def wants_problem() -> bool:
    """Whether the client is a program: below ``/api/``, or one that prefers JSON to HTML."""
    if request.path.startswith("/api/"):
        return True
    return request.accept_mimetypes.best_match(["text/html", *_JSON]) in _JSON


def problem(status: int, title: str, detail: str, **members: Any) -> Response:
    """A problem+json response; ``members`` are its further members."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    if (identity := request_id()) is not None:
        body["request_id"] = identity
    response = jsonify(body)
    response.status_code = status
    response.content_type = "application/problem+json"
    return response


async def _answer(status: int, title: str, detail: str, **members: Any) -> Response:
    if not has_request_context():  # a WebSocket that is refused: whoever opened it shows no page
        return Response(detail, status, content_type="text/plain; charset=utf-8")
    if wants_problem():
        return problem(status, title, detail, **members)
    if status >= 500:
        g.user = None  # the page must not ask a database that may be what failed
    body = await render_template("error.html", status=status, title=title, detail=detail, request_id=request_id())
    return Response(body, status, content_type="text/html; charset=utf-8")


async def _http(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # redirects, and what a view has built itself
    detail = error.description or ""
    if isinstance(error, InternalServerError):
        detail = "Something went wrong here. It has been logged, and trying again may help."
    response = await _answer(error.code, error.name, detail)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after", "www-authenticate", "content-range"):
            response.headers[name] = value
    return response


async def _invalid(error: Invalid) -> ResponseReturnValue:
    detail = "Some fields were refused."
    return await _answer(422, "Unprocessable Content", detail, errors=error.errors)


async def _later(retry_after_s: int, detail: str) -> Response:
    response = await _answer(503, "Service Unavailable", detail)
    response.headers["Retry-After"] = str(retry_after_s)
    return response


async def _overloaded(error: Overloaded) -> ResponseReturnValue:
    return await _later(error.retry_after_s, "Too much to do at the moment. Please try again.")


async def _unavailable(error: Unavailable) -> ResponseReturnValue:
    return await _later(error.retry_after_s, "A server that this page needs does not answer. Please try again.")


def init_errors(app: Quart) -> None:
    """Answer every error as :func:`wants_problem` says; a server that is away is 503 with ``Retry-After``."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Invalid, _invalid)
    app.register_error_handler(Overloaded, _overloaded)
    app.register_error_handler(Unavailable, _unavailable)
