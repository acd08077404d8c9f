"""The users' handlers: which one an event has, and how it is run, with the handshake's request, session and ``g``."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from quart import Quart
from socketio.exceptions import ConnectionRefusedError as Refused
from werkzeug.datastructures import Headers

from ..bridge import bridged, current_threads
from ..context import current_session
from .server import NOT_HANDLED, report
from .sessions import HELD, ManagedSession, holds_sessions

__all__ = ["SAVED_SESSION", "Call", "Handlers", "arguments_for", "run", "settle"]

SAVED_SESSION: Final = "saved_session"
"""In a client's environ: its session, Flask-SocketIO's name for it."""
_LIFECYCLE: Final = ("connect", "disconnect")
Function = Callable[..., Any]


@dataclass
class Handlers:
    """What is registered on one ``SocketIO``: namespace → event → function, and who hears of exceptions."""

    events: dict[str, dict[str, Function]] = field(default_factory=dict)
    namespaces: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Function] = field(default_factory=dict)
    default_error: Function | None = None

    def find(self, event: str, namespace: str, args: tuple[Any, ...]) -> tuple[Function, str, tuple[Any, ...]] | None:
        """The function of an event, the name it goes by, and its arguments: the exact name before ``*``."""
        for name in (namespace, "*"):
            of_namespace = self.events.get(name, {})
            if event in of_namespace and event != "*":
                return of_namespace[event], event, args
            if "*" in of_namespace and event not in _LIFECYCLE:
                return of_namespace["*"], "*", (event, *args)
        return None

    def error_of(self, namespace: str) -> Function | None:
        return self.errors.get(namespace, self.default_error)


@dataclass
class Call:
    """One call of a handler for one client.

    :ivar environ: the client's, as python-engineio has it.
    :ivar name: the event's, ``None`` for a callback.
    :ivar on_error: who hear what it raises, and each of them what the one before has raised.
    """

    app: Any
    environ: dict[str, Any]
    function: Function
    name: str | None
    namespace: str
    sid: str | None
    args: tuple[Any, ...]
    on_error: tuple[Function | None, ...] = ()


def arguments_for(function: Function, name: str | None, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """A ``connect`` handler may take the client's ``auth``, or nothing; a ``disconnect`` handler the reason."""
    if name not in _LIFECYCLE:
        return args
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return ()
    return args


async def run(call: Call, manage_session: bool) -> Any:
    """Run a handler, bridged, in a context of its own; return its value, ``NOT_HANDLED`` if it failed.

    :raises ConnectionRefusedError: python-socketio's, to refuse a connection.
    """
    threads = getattr(call.app, "threads", None)
    if threads is not None:
        current_threads.set(threads)
    return await settle(call, bridged(_in_context(call, manage_session)))


async def settle(call: Call, work: Awaitable[Any]) -> Any:
    """Await a handler; report what it raises.

    :raises ConnectionRefusedError: python-socketio's, to refuse a connection.
    """
    try:
        return await work
    except ConnectionRefusedError as error:
        raise Refused(*error.args) from error
    except Refused:
        raise
    except (Exception, SystemExit) as error:  # sys.exit() would end the event loop, and the server with it
        report(call.environ, error, f"The handler of {call.name!r} in {call.namespace!r} failed")
        return False if call.name == "connect" else NOT_HANDLED


async def _in_context(call: Call, manage_session: bool) -> Any:
    environ = call.environ
    if manage_session:
        holds_sessions(call.app)
        if SAVED_SESSION not in environ:
            async with call.app.request_context(_request(call, None)):
                # another of the client's events may have opened it meanwhile
                environ.setdefault(SAVED_SESSION, ManagedSession(current_session()))
    request = _request(call, environ[SAVED_SESSION] if manage_session else None)
    request.sid, request.namespace = call.sid, call.namespace
    request.event = {"message": call.name, "args": call.args}
    async with call.app.request_context(request):
        result = await _answer(call)
        if not manage_session and getattr(current_session(), "modified", True):
            await _save(call.app)
    return result


async def _answer(call: Call) -> Any:
    error: Exception
    try:
        args = arguments_for(call.function, call.name, call.args)
        return await call.app.ensure_async(call.function)(*args)
    except (ConnectionRefusedError, Refused):
        raise
    except Exception as raised:
        error = raised
    for on_error in filter(None, call.on_error):
        try:
            return await call.app.ensure_async(on_error)(error)
        except (ConnectionRefusedError, Refused):
            raise
        except Exception as raised:
            error = raised
    raise error


async def _save(app: Quart) -> None:
    """As Flask-SocketIO: server-side sessions are stored; a cookie cannot reach the client from here."""
    interface, session = app.session_interface, current_session()
    if not interface.is_null_session(session):
        await app.ensure_async(interface.save_session)(app, session, app.response_class(b""))


async def _no_push(path: str, headers: Headers) -> None:
    """A handshake has no response that something could be pushed with."""


def _request(call: Call, session: Any) -> Any:
    """The handshake, as the application's own request class."""
    scope = call.environ["asgi.scope"]
    secure = scope.get("scheme") in ("https", "wss")
    scope = {**scope, "type": "http", "method": "GET", "scheme": "https" if secure else "http", HELD: session}
    headers = Headers()
    headers["Remote-Addr"] = (scope.get("client") or ["<local>"])[0]
    for name, value in scope["headers"]:
        headers.add(name.decode("latin1").title(), value.decode("latin1"))
    root = scope.get("root_path", "")
    request: Any = call.app.request_class(
        "GET",
        scope["scheme"],
        scope["path"].removeprefix(root),
        scope.get("query_string", b""),
        headers,
        root,
        scope.get("http_version", "1.1"),
        scope,
        send_push_promise=_no_push,
    )
    request.body.set_complete()
    return request
