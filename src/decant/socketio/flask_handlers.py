"""Handlers of a Flask application: synchronous, each in a request context of the client's handshake."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import flask
from socketio.exceptions import ConnectionRefusedError as Refused

from ..bridge import Threads, bridged, current_threads, in_thread, wait
from .handlers import SAVED_SESSION, Call, arguments_for, settle
from .sessions import HELD, ManagedSession, holds_sessions_sync

if TYPE_CHECKING:
    from .serving import Serving

__all__ = ["run", "run_in_app_context"]

BLOCKING: Final = "decant_blocking"
"""On a function that :func:`decant.flask.blocking` has marked."""
_MAX_TASKS: Final = 64
_tasks: Final = Threads(_MAX_TASKS, grace_s=1.0)
"""Background tasks may go on for ever, so they do not take the threads that requests need."""


async def run(call: Call, serving: Serving) -> Any:
    """Run a handler in a thread, or on the loop in the bridge; return its value, ``NOT_HANDLED`` if it failed.

    :raises ConnectionRefusedError: python-socketio's, to refuse a connection.
    """
    if serving.threads is not None:
        current_threads.set(serving.threads)
    work = partial(_in_context, call, serving.options.manage_session)
    if serving.views == "loop" and not getattr(call.function, BLOCKING, False):
        return await settle(call, _on_loop(call, work, serving))
    return await settle(call, in_thread(work))


async def run_in_app_context(app: flask.Flask, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a background task in the application's context, in a thread of its own."""

    def work() -> Any:
        with app.app_context():
            return _result(target(*args, **kwargs))

    return await _tasks.run(work)


def _on_loop(call: Call, work: Callable[[], Any], serving: Serving) -> Awaitable[Any]:
    """Watched, where the shim has a watchdog. By the function's name: what a client calls its event has no bound."""
    if serving.on_loop is None:
        return bridged(_call(work))
    name = getattr(call.function, "__qualname__", type(call.function).__qualname__)
    return serving.on_loop(_call(work), f"socketio:{name}", f"the Socket.IO handler {name!r}", call.function)


async def _call(work: Callable[[], Any]) -> Any:
    return work()


def _result(value: Any) -> Any:
    """What an ``async`` handler returns is awaited on the loop."""
    return wait(value) if isawaitable(value) else value


def _in_context(call: Call, manage_session: bool) -> Any:
    app, environ = call.app, _wsgi(call.environ)
    if manage_session:
        holds_sessions_sync(app)
        if SAVED_SESSION not in call.environ:
            with app.request_context(environ):
                # another of the client's events may have opened it meanwhile
                call.environ.setdefault(SAVED_SESSION, ManagedSession(flask.session))
        environ[HELD] = call.environ[SAVED_SESSION]
    with app.request_context(environ):
        request: Any = flask.request
        request.sid, request.namespace = call.sid, call.namespace
        request.event = {"message": call.name, "args": call.args}
        result = _answer(call)
        if not manage_session:
            _save(app)
    return result


def _answer(call: Call) -> Any:
    error: Exception
    try:
        return _result(call.function(*arguments_for(call.function, call.name, call.args)))
    except (ConnectionRefusedError, Refused):
        raise
    except Exception as raised:
        error = raised
    for on_error in filter(None, call.on_error):
        try:
            return _result(on_error(error))
        except (ConnectionRefusedError, Refused):
            raise
        except Exception as raised:
            error = raised
    raise error


def _save(app: flask.Flask) -> None:
    """As Flask-SocketIO: server-side sessions are stored; a cookie cannot reach the client from here."""
    session: Any = flask.session._get_current_object()  # type: ignore[attr-defined]
    if getattr(session, "modified", True) and not app.session_interface.is_null_session(session):
        app.session_interface.save_session(app, session, app.response_class())


def _wsgi(environ: dict[str, Any]) -> dict[str, Any]:
    """The handshake as Werkzeug reads one: python-engineio has decoded the path and headers."""
    scope = environ["asgi.scope"]
    server, client = scope.get("server") or ("localhost", 80), scope.get("client") or ("", 0)
    secure = scope.get("scheme") in ("https", "wss")
    root = scope.get("root_path", "")
    return {
        **{name: value for name, value in environ.items() if not name.startswith(("asgi.", "HTTP_"))},
        **_headers(scope),
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": root.encode().decode("latin1"),
        "PATH_INFO": scope["path"].removeprefix(root).encode().decode("latin1"),
        "QUERY_STRING": scope.get("query_string", b"").decode("latin1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or ""),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.url_scheme": "https" if secure else "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _headers(scope: dict[str, Any]) -> dict[str, str]:
    """As the shim gives them to views: no name with an underscore, as it could pose as another; cookies as one list."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = f"HTTP_{name.decode('latin1').upper().replace('-', '_')}", value.decode("latin1")
        if b"_" not in name:
            joint = "; " if key == "HTTP_COOKIE" else ","
            found[key] = f"{found[key]}{joint}{text}" if key in found else text
    return found
