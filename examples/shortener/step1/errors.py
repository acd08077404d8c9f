"""Errors of the Quart half, as shortener.hooks answers them, and the headers of every answer."""

from quart import jsonify, make_response, render_template, request
from shortener.hooks import HEADERS, Rejected
from werkzeug.exceptions import HTTPException

from decant.flask import request_id


def register_errors(app):
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Rejected, rejected)
    app.after_request(add_headers)


async def add_headers(response):
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "private, no-store")
    if response.status_code not in (429, 503):
        response.headers.pop("Retry-After", None)
    return response


def wants_json():
    if request.path.startswith("/api/"):
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json", "application/problem+json"])
    return best is not None and best != "text/html"


def problem(status, title, detail, **more):
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    response = jsonify({**body, "request_id": request_id()})
    response.status_code = status
    response.mimetype = "application/problem+json"
    return response


async def http_error(error):
    if error.code is None or error.code < 400:
        return error
    detail = str(error.description or "")
    if wants_json():
        response = problem(error.code, error.name, detail)
    else:
        page = await render_template("error.html", status=error.code, title=error.name, detail=detail)
        response = await make_response(page, error.code)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after", "www-authenticate"):
            response.headers[name] = value
    return response


async def rejected(error):
    detail = "Some of what was sent was refused: see errors."
    return problem(error.status, error.title, detail, errors=error.errors[:20])
