"""The active application, request, ``g`` and session: Quart's or Flask's, whichever context is active.

Twins serve both frameworks, so they ask here instead of importing ``current_app`` from one of them. Where both have
a context, the one with a request is meant, and Quart's if both have one: its request may be shared with Flask's
extensions (``share_proxies``). Mounted Flask runs beside Quart's requests, not inside one.
"""

from __future__ import annotations

from typing import Any, Final

import flask
import quart

__all__ = [
    "current_app",
    "current_g",
    "current_request",
    "current_session",
    "has_app",
    "has_request",
    "in_flask_request",
    "on_quart",
]

_NO_APP: Final = (
    "no application context is active, neither Quart's nor Flask's: call this in a request or a command, or within"
    " `async with app.app_context():` (Flask: `with app.app_context():`)"
)
_NO_REQUEST: Final = (
    "no request context is active, neither Quart's nor Flask's: call this while a request is handled, or within"
    " `async with app.test_request_context('/'):` (Flask: without `async`)"
)


def _current(proxy: Any) -> Any:
    return proxy._get_current_object()  # Werkzeug's documented way out of a LocalProxy


def _quart_request() -> bool:
    return quart.has_request_context() or quart.has_websocket_context()


def _of_quart() -> bool | None:
    """Whose context is meant: Quart's (``True``), Flask's (``False``), or none is active (``None``)."""
    if _quart_request():
        return True
    if flask.has_request_context():
        return False
    if quart.has_app_context():
        return True
    return False if flask.has_app_context() else None


def has_app() -> bool:
    """Whether an application context is active."""
    return _of_quart() is not None


def has_request() -> bool:
    """Whether a request context is active, or a WebSocket's."""
    return _quart_request() or flask.has_request_context()


def in_flask_request() -> bool:
    """Whether a Flask application handles a request here; a Quart one that shares its proxies with Flask does not."""
    return flask.has_request_context() and isinstance(_current(flask.current_app), flask.Flask)


def current_app() -> Any:
    """The application itself, no proxy: a ``quart.Quart`` or a ``flask.Flask``.

    :raises RuntimeError: outside an application context.
    """
    return _current((quart if _app_of_quart() else flask).current_app)


def current_g() -> Any:
    """The ``g`` of :func:`current_app`'s context.

    :raises RuntimeError: outside an application context.
    """
    return _current((quart if _app_of_quart() else flask).g)


def current_request() -> Any:
    """The request, no proxy; in a WebSocket handler the ``quart.Websocket``, which has the same headers and cookies.

    :raises RuntimeError: outside a request context.
    """
    if quart.has_request_context():
        return _current(quart.request)
    if quart.has_websocket_context():
        return _current(quart.websocket)
    if flask.has_request_context():
        return _current(flask.request)
    raise RuntimeError(_NO_REQUEST)


def current_session() -> Any:
    """The session of :func:`current_request`, no proxy.

    :raises RuntimeError: outside a request context.
    """
    if _quart_request():
        return _current(quart.session)
    if flask.has_request_context():
        return _current(flask.session)
    raise RuntimeError(_NO_REQUEST)


def on_quart(app: Any) -> bool:
    """Whether ``app`` is a Quart application (``True``) or a Flask application (``False``).

    :raises TypeError: if it is neither.
    """
    if isinstance(app, quart.Quart):
        return True
    if isinstance(app, flask.Flask):
        return False
    raise TypeError(f"a quart.Quart or flask.Flask application is needed, not {type(app).__name__}: {app!r}")


def _app_of_quart() -> bool:
    of_quart = _of_quart()
    if of_quart is None:
        raise RuntimeError(_NO_APP)
    return of_quart
