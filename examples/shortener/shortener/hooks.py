"""What happens around every request: its id, headers, errors as pages or as JSON."""

import logging
import re
import uuid

from flask import g, jsonify, make_response, render_template, request, session
from flask_wtf.csrf import CSRFError
from sqlalchemy import exc
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

from .models import utcnow
from .urls import short_url

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
UPLOADS = ("imports.create", "api.create_import")


class Rejected(Exception):
    """Input of the API that is refused: a list of {"detail", "pointer"} or {"detail", "parameter"}."""

    def __init__(self, errors, status=422, title="Unprocessable Content"):
        super().__init__(f"{len(errors)} errors")
        self.errors, self.status, self.title = errors, status, title


def problem(status, title, detail, **more):
    """An error as RFC 9457 wants it."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    response = jsonify({**body, "request_id": g.get("request_id")})
    response.status_code = status
    response.mimetype = "application/problem+json"
    return response


def wants_json():
    if request.path.startswith("/api/"):
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json", "application/problem+json"])
    return best is not None and best != "text/html"


def register(app):
    @app.before_request
    def begin():
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else uuid.uuid4().hex
        if request.endpoint in UPLOADS:  # before anything reads the form
            request.max_content_length = (app.config["IMPORT_MAX_MB"] * 1024 + 64) * 1024
        # A log-in goes on for as long as somebody comes back, but not every answer needs a cookie.
        if request.endpoint not in ("main.follow", "static") and "_user_id" in session:
            today = utcnow().date().isoformat()
            if session.get("seen") != today:
                session["seen"] = today

    @app.after_request
    def add_headers(response):
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.endpoint != "static":
            response.headers.setdefault("Cache-Control", "private, no-store")
        if response.status_code not in (429, 503):  # Flask-Limiter says it of every response
            response.headers.pop("Retry-After", None)
        response.headers["X-Request-ID"] = g.get("request_id", "")
        return response

    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Rejected, rejected)
    app.register_error_handler(exc.OperationalError, unavailable)
    app.register_error_handler(exc.TimeoutError, unavailable)  # no connection of the pool was free in time
    app.add_template_global(short_url)
    app.add_template_filter(moment)
    app.add_template_filter(thousands)


def http_error(error):
    if error.code is None or error.code < 400:
        return error
    detail, title = str(error.description or ""), error.name
    if isinstance(error, CSRFError):
        detail += " Go back, reload the page and send the form again."
    if isinstance(error, InternalServerError):
        detail = "Something went wrong here. It has been logged, and trying again may help."
    answer = problem if wants_json() else error_page
    response = answer(error.code, title, detail)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after", "www-authenticate"):
            response.headers[name] = value
    return response


def error_page(status, title, detail):
    if status >= 500:  # the page's head asks who is logged in, and the database may be what failed
        g._login_user = None
    return make_response(render_template("error.html", status=status, title=title, detail=detail), status)


def unavailable(error):
    log.error("the database does not answer", exc_info=error)
    return http_error(ServiceUnavailable("The database does not answer. Please try again.", retry_after=5))


def rejected(error):
    detail = error.errors[0]["detail"] if error.status == 409 else "Some of what was sent was refused: see errors."
    return problem(error.status, error.title, detail, errors=error.errors[:20])


def moment(value):
    return value.strftime("%-d %B %Y, %H:%M UTC")


def thousands(value):
    return f"{value:,}"
