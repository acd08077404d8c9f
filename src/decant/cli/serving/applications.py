"""What was found at the target, made ready to be served: a Flask application gets the shim, others nothing."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from ...errors import CommandError
from .options import Options
from .targets import is_asgi

__all__ = ["Application", "before_import", "made_servable"]

_THREADS = 40


@dataclass(frozen=True)
class Application:
    """An ASGI application and what the banner says of it.

    :ivar app: the application itself, whose extensions show what it needs.
    :ivar kind: what it is.
    :ivar views: where its views run; ``""``: it decides itself.
    :ivar caution: what is dangerous about it; may be ``""``.
    """

    asgi: Any
    app: Any
    kind: str
    views: str = ""
    caution: str = ""


def before_import(options: Options) -> dict[str, Any]:
    """What has to be in place before the target is imported; what was replaced, for the banner.

    In this order: the faces, the thread-local registry of SQLAlchemy's sessions (on the loop), the async drivers.
    """
    done: dict[str, Any] = {}
    if options.faces:
        from ...flask.installing import install

        done["faces"] = ", ".join(install()) or "none"
    if options.views == "loop":
        from ...flask.registry import make_bridge_local

        make_bridge_local()
    # An unmodified application names the driver that it has had so far, which the database's face refuses.
    if options.async_db or (options.faces and find_spec("sqlalchemy") is not None):
        from ...flask.async_db import use_async_drivers

        done["databases"] = _mapped(use_async_drivers())
    return done


def _mapped(drivers: dict[str, str]) -> str:
    plain = {database: driver for database, driver in drivers.items() if "+" not in database}
    return ", ".join(f"{database}:// by {database}+{driver}" for database, driver in plain.items())


def made_servable(found: Any, options: Options, title: str) -> Application:
    """Wrap what was found.

    :raises CommandError: if it cannot be served, or not as it was asked for.
    """
    flask, quart = sys.modules.get("flask"), sys.modules.get("quart")
    if flask is not None and isinstance(found, flask.Flask):
        _refuse_polling(found, options, title)
        return _of_flask(found, options)
    if not is_asgi(found):
        raise CommandError(f"{title}: {_not_servable(found)}")
    kind = f"an ASGI application ({type(found).__module__}.{type(found).__qualname__})"
    mounting = sys.modules.get("decant.flask.mounting")
    if mounting is not None and isinstance(found, mounting.Mounted):
        found = found.quart
    if quart is not None and isinstance(found, quart.Quart):
        kind = f"{type(found).__module__.partition('.')[0]}.Quart on Quart {version('quart')}"
        _refuse_polling(found, options, title)
        _shorten_shutdown(found, options)
        if mounting is not None and (mounted := found.extensions.get(mounting.MOUNTED)) is not None:
            kind += f", with Flask {version('flask')} mounted"
            _refuse_polling(mounted.flask, options, title)
            mounted.asgi.multiprocess = options.workers > 1
    for option, given in (("--views", options.views), ("--threads", options.threads)):
        if given is not None:
            raise CommandError(f"{option} is for Flask applications; {title} is {kind}")
    return Application(found, found, kind)


def _of_flask(app: Any, options: Options) -> Application:
    from ...flask import asgi

    views, threads = options.views or "threads", options.threads or _THREADS
    served = asgi(app, views=views, threads=threads, grace_s=options.own_s)
    served.multiprocess = options.workers > 1
    kind = f"Flask {version('flask')}"
    if views == "threads":
        return Application(served, app, kind, f"in {threads} threads")
    blocking = app.config.get("DECANT_BLOCKING_VIEWS") or ()
    listed = f", and {', '.join(blocking)}" if blocking else ""
    return Application(
        served,
        app,
        kind,
        f"on the event loop; those marked @blocking{listed} in {threads} threads",
        "on the loop, a lock that is held while a view waits may stop every request, and threading.local is shared"
        " by all of them: see docs/loop.md",
    )


def _not_servable(found: Any) -> str:
    if callable(found) and not isinstance(found, type):
        return (
            f"it is {found!r}, neither a Flask nor an ASGI application. If it is WSGI middleware around a Flask"
            " application, name the Flask application, and let it be app.wsgi_app"
        )
    return f"it is {found!r}, neither a Flask nor an ASGI application"


def _shorten_shutdown(app: Any, options: Options) -> None:
    """The application's own patience with what is open must not be longer than ours."""
    own = app.config.get("SHUTDOWN_TIMEOUT")
    if isinstance(own, int | float) and own > options.own_s:
        app.config["SHUTDOWN_TIMEOUT"] = options.own_s


def _refuse_polling(app: Any, options: Options, title: str) -> None:
    if options.workers > 1 and "polling" in _transports(app):
        raise CommandError(
            f"{title}: Socket.IO's long polling needs every request of a client in the same process, so --workers"
            f" {options.workers} cannot serve it. Allow WebSockets only (SOCKETIO_TRANSPORTS = ['websocket'], or"
            " SocketIO(transports=['websocket'])), or run processes on ports of their own behind a sticky proxy, as in"
            " deploy/nginx.conf"
        )


def _transports(app: Any) -> list[str]:
    """What Socket.IO's clients of the application may use; none where it has no Socket.IO."""
    ours = sys.modules.get("decant.socketio.serving")
    serving = app.extensions.get(ours.SERVING) if ours is not None else None
    if serving is not None:
        return list(serving.options.transports)
    engine = getattr(getattr(app.extensions.get("socketio"), "server", None), "eio", None)
    return list(getattr(engine, "transports", ()) or ())
