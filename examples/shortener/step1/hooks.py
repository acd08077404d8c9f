"""What happens around every request of the Quart half, as shortener.hooks has it for the other one."""

import logging

from flask_wtf.csrf import CSRFError
from shortener.hooks import HEADERS, Rejected, wants_json
from shortener.models import utcnow
from sqlalchemy import exc
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

from decant.flask import request_id
from decant.quart import g, jsonify, make_response, render_template, request, session

log = logging.getLogger(__name__)


def register_hooks(app):
    app.before_request(begin)
    app.after_request(add_headers)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Rejected, rejected)
    app.register_error_handler(exc.OperationalError, unavailable)
    app.register_error_handler(exc.TimeoutError, unavailable)  # no connection of the pool was free in time


async def begin():
    g.request_id = request_id()  # of both halves; error pages show it
    # A log-in goes on for as long as somebody comes back, to whichever half.
    if request.endpoint != "main.follow" and "_user_id" in session:
        today = utcnow().date().isoformat()
        if session.get("seen") != today:
            session["seen"] = today


async def add_headers(response):
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "private, no-store")
    if response.status_code not in (429, 503):
        response.headers.pop("Retry-After", None)
    return response


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
    if isinstance(error, CSRFError):
        detail += " Go back, reload the page and send the form again."
    if isinstance(error, InternalServerError):
        detail = "Something went wrong here. It has been logged, and trying again may help."
    if wants_json():
        response = problem(error.code, error.name, detail)
    else:
        response = await error_page(error.code, error.name, detail)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after", "www-authenticate"):
            response.headers[name] = value
    return response


async def error_page(status, title, detail):
    if status >= 500:  # the page's head asks who is logged in, and the database may be what failed
        g._login_user = None
    page = await render_template("error.html", status=status, title=title, detail=detail)
    return await make_response(page, status)


async def unavailable(error):
    log.error("the database does not answer", exc_info=error)
    return await http_error(ServiceUnavailable("The database does not answer. Please try again.", retry_after=5))


async def rejected(error):
    detail = error.errors[0]["detail"] if error.status == 409 else "Some of what was sent was refused: see errors."
    return problem(error.status, error.title, detail, errors=error.errors[:20])
