"""``SocketIO``: Flask-SocketIO's extension, awaited."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary, ref

import socketio

from ..context import current_app, current_request, has_app, has_request, on_quart
from ..faces import faced, io_method
from . import flask_handlers
from .background import BackgroundTask
from .client import SocketIOTestClient
from .handlers import Call, Handlers, run
from .namespace import Namespace
from .options import Options, options_from
from .server import NOT_HANDLED, Server
from .serving import SERVING, Serving, make_manager

__all__ = ["CallTimeout", "SocketIO"]

F = TypeVar("F", bound=Callable[..., Any])
_NAME: Final = "socketio"
_EMIT_ONLY: Final = "this SocketIO has no application that serves clients: it can emit, send and close rooms"
logger = logging.getLogger("decant.socketio")


class CallTimeout(socketio.exceptions.TimeoutError, builtins.TimeoutError):  # type: ignore[misc]
    """A client did not answer in time: python-socketio's ``TimeoutError``, and Python's."""


class SocketIO:
    """Socket.IO with Flask-SocketIO 5.7's interface, for Quart; what talks to clients is awaited. Its face is Flask's.

    Handlers are ``async`` or not (then they run in threads) and have the handshake's ``request``, ``session``, a new
    ``g``, and ``current_app``; ``request.sid``, ``request.namespace`` and ``request.event`` say whose event it is.

    Without an application, but with ``message_queue=``, it emits from other processes: scripts and jobs.

    :param app: initialised at once, if given.
    :param options: see :class:`~decant.socketio.Options`, and python-socketio's ``AsyncServer``.
    """

    reason = socketio.AsyncServer.reason

    def __init__(self, app: Any = None, **options: Any) -> None:
        self.server_options: dict[str, Any] = options
        self._handlers = Handlers()
        self._made: WeakKeyDictionary[Any, ref[Serving]] = WeakKeyDictionary()  # which the application keeps
        self._writer: Any = None
        if app is not None or options.get("message_queue"):
            self.init_app(app)

    def init_app(self, app: Any, **options: Any) -> None:
        """Set up an application; ``None`` only emits, over the message queue.

        A Flask application's clients are served where :func:`decant.flask.asgi` serves it; elsewhere, under
        Gunicorn or in a worker, it emits to them over the message queue.

        :raises ConfigError: if a value is wrong.
        :raises TypeError: for an unknown option.
        """
        self.server_options.update(options)
        if app is None:
            self._writer = make_manager(None, options_from({}, self.server_options), write_only=True)
            return
        serving = Serving(app, options_from(app.config, self.server_options), partial(self._dispatch, app))
        serving.server.handlers = self._handlers.events
        serving.server.namespace_handlers = self._handlers.namespaces
        self._made[app] = ref(serving)
        app.extensions[SERVING] = serving
        app.extensions[_NAME] = self if on_quart(app) else faced(self)

    # -- who serves --------------------------------------------------------------------------------------------

    @property
    def _serving(self) -> dict[Any, Serving]:
        """By application."""
        return {app: serving for app, held in list(self._made.items()) if (serving := held()) is not None}

    def _of_app(self) -> Serving | None:
        """That of the current application; without a context, of the only one."""
        every = self._serving
        if has_app() and current_app() in every:
            return every[current_app()]
        return next(iter(every.values())) if len(every) == 1 else None

    def _served(self) -> Serving:
        serving = self._of_app()
        if serving is None:
            raise RuntimeError(_EMIT_ONLY if self._writer else self._unknown())
        return serving

    def _unknown(self) -> str:
        if len(self._serving) > 1:
            return "this SocketIO has several applications: use it within `async with app.app_context():`"
        return "this SocketIO has no application: call init_app(app), or give it a message_queue"

    async def _managed(self, call: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """Have the manager do something, where the clients are served."""
        serving = self._of_app()
        if serving is None:
            if self._writer is None:
                raise RuntimeError(self._unknown())
            await call(self._writer)
            return
        if not serving.reaches_clients:
            logger.warning("Emitted to nobody: this process serves no clients, and there is no SOCKETIO_MESSAGE_QUEUE")
        await serving.on_its_loop(call(serving.manager))

    @property
    def server(self) -> Server:
        """python-socketio's server of the current application."""
        return self._served().server

    @property
    def sockio_mw(self) -> Any:
        """The ASGI middleware of the current application."""
        return self._served().middleware

    @property
    def options(self) -> Options:
        """The options of the current application."""
        return self._served().options

    async_mode = "asgi"

    @property
    def handlers(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Namespace → event → function."""
        return self._handlers.events

    @property
    def namespace_handlers(self) -> dict[str, Any]:
        return self._handlers.namespaces

    @property
    def exception_handlers(self) -> dict[str, Callable[..., Any]]:
        return self._handlers.errors

    @property
    def default_exception_handler(self) -> Callable[..., Any] | None:
        return self._handlers.default_error

    # -- registering -------------------------------------------------------------------------------------------

    def on(self, message: str, namespace: str | None = None) -> Callable[[F], F]:
        """Register a handler: of ``connect``, ``disconnect``, ``message``, ``json``, an event, or ``*`` for all
        events without one, whose name is then the first argument. The namespace ``*`` is any without a handler.
        """

        def register(handler: F) -> F:
            self._handlers.events.setdefault(namespace or "/", {})[message] = handler
            return handler

        return register

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`on`, with the function's name as the event's: ``@socketio.event``, ``@…event(namespace="/x")``."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return self.on(args[0].__name__)(args[0])
        return lambda handler: self.on(handler.__name__, *args, **kwargs)(handler)

    def on_event(self, message: str, handler: Callable[..., Any], namespace: str | None = None) -> None:
        """:meth:`on`, not as a decorator."""
        self.on(message, namespace)(handler)

    def on_error(self, namespace: str | None = None) -> Callable[[F], F]:
        """Register who is called with what the handlers of a namespace raise; its value becomes the answer.

        :raises ValueError: if it cannot be called.
        """

        def register(handler: F) -> F:
            self._handlers.errors[namespace or "/"] = _callable(handler)
            return handler

        return register

    def on_error_default(self, exception_handler: F) -> F:
        """:meth:`on_error` for the namespaces that have none of their own."""
        self._handlers.default_error = _callable(exception_handler)
        return exception_handler

    def on_namespace(self, namespace_handler: Namespace) -> None:
        """Register a class-based namespace.

        :raises ValueError: if it is none.
        """
        if not isinstance(namespace_handler, Namespace):
            raise ValueError("Not a namespace instance.")
        namespace_handler.socketio = self
        self._handlers.namespaces[namespace_handler.namespace] = namespace_handler

    # -- handling ----------------------------------------------------------------------------------------------

    async def _dispatch(self, app: Any, server: Server, event: str, namespace: str, *args: Any) -> Any:
        """Find the handler of an event and run it; ``args`` are the sid, for ``connect`` the environ, and the rest."""
        sid, *rest = args
        if event == "connect":
            rest = rest[1:]
        found = self._handlers.find(event, namespace, tuple(rest))
        if found is not None:
            function, name, values = found
            errors = (self._handlers.error_of(namespace),)
            return await self._run(app, server, function, name, namespace, sid, values, errors)
        for key in (namespace, "*"):
            handler = self._handlers.namespaces.get(key)
            if handler is not None:
                # python-socketio sets the server of a namespace that it registers itself
                handler._set_server(server)
                before = (namespace,) if key == "*" else ()
                return await handler.trigger_event(event, *before, sid, *rest)
        return NOT_HANDLED

    async def run_handler(
        self, function: Any, event: str | None, namespace: str, sid: str, *args: Any, owner: Namespace
    ) -> Any:
        """Run the method of a class-based namespace; without one, nothing."""
        if function is None:
            return None
        app = next(app for app, serving in self._serving.items() if serving.server is owner.server)
        errors = (self._handlers.error_of(namespace), getattr(owner, "error", None))
        return await self._run(app, owner.server, function, event, namespace, sid, args, errors)

    async def _run(
        self,
        app: Any,
        server: Server,
        function: Any,
        name: str | None,
        namespace: str,
        sid: str,
        args: tuple[Any, ...],
        errors: tuple[Any, ...],
    ) -> Any:
        environ = server.get_environ(sid, namespace=namespace)
        if not environ:  # it is gone
            return NOT_HANDLED
        call = Call(app, environ, function, name, namespace, sid, args, errors)
        serving = self._serving[app]
        if on_quart(app):
            return await run(call, serving.options.manage_session)
        return await flask_handlers.run(call, serving)

    # -- emitting ----------------------------------------------------------------------------------------------

    @io_method
    async def emit(self, event: str, *args: Any, **options: Any) -> None:
        """Emit an event to all clients, of all processes.

        :param args: what the event carries: JSON values, ``bytes``.
        :param options: ``namespace`` (``/``), ``to`` or ``room`` (a room, a sid, a list of them), ``include_self``
            (``False``, in a handler: not to the client whose event it is), ``skip_sid`` (one or a list),
            ``callback`` (called with the client's answer; needs ``to``), ``ignore_queue`` (this process only).
        :raises TypeError: for another option.
        :raises ValueError: for a callback without ``to`` where there is a message queue.
        """
        namespace = options.pop("namespace", None) or "/"
        to = options.pop("to", None) or options.pop("room", None)
        options.pop("room", None)
        skip_sid, include_self = options.pop("skip_sid", None), options.pop("include_self", True)
        if not include_self and not skip_sid:
            skip_sid = getattr(current_request(), "sid", None) if has_request() else None
        callback = self._callback(options.pop("callback", None))
        ignore_queue = options.pop("ignore_queue", False)
        if options:
            raise TypeError(f"emit() has no option {', '.join(sorted(options))}")
        data = args[0] if len(args) == 1 else args or None
        options = {"room": to, "skip_sid": skip_sid, "callback": callback, "ignore_queue": ignore_queue}
        await self._managed(lambda manager: manager.emit(event, data, namespace, **options))

    def _callback(self, function: Callable[..., Any] | None) -> Any:
        """The callback, run in a task of its own: the client's next events, and other processes', do not wait for it.

        Within a handler it has the context of the client whose event is handled, else the application's.
        """
        if function is None:
            return None
        serving = self._served()
        request = current_request() if has_request() else None
        sid, namespace = getattr(request, "sid", None), getattr(request, "namespace", "/")
        app = next(app for app, other in self._serving.items() if other is serving)

        def answered(*args: Any) -> None:
            if sid is None:
                serving.tasks.start(function, *args)
            else:
                errors = (self._handlers.error_of(namespace),)
                serving.tasks.start(self._run, app, serving.server, function, None, namespace, sid, args, errors)

        return answered

    @io_method
    async def send(
        self,
        data: Any,
        json: bool = False,
        namespace: str | None = None,
        to: Any = None,
        callback: Any = None,
        include_self: bool = True,
        skip_sid: Any = None,
        **options: Any,
    ) -> None:
        """Emit ``message``, or ``json``. The options are those of :meth:`emit`."""
        options |= {"namespace": namespace, "callback": callback, "include_self": include_self, "skip_sid": skip_sid}
        await self.emit("json" if json else "message", data, to=to, **options)

    @io_method
    async def call(self, event: str, *args: Any, **options: Any) -> Any:
        """Emit an event to the client ``to`` and return its answer: a value, a tuple of several, or ``None``.

        :param options: ``to`` or ``room``, ``namespace``, ``timeout`` in seconds (60), ``ignore_queue``.
        :raises TimeoutError: if there is no answer in time.
        :raises ValueError: without ``to``.
        """
        data = args[0] if len(args) == 1 else args or None
        room = options.pop("room", None)
        options["to"] = options.get("to") or room
        try:
            serving = self._served()
            return await serving.on_its_loop(serving.server.call(event, data, **options))
        except socketio.exceptions.TimeoutError:
            text = f"{options['to']!r} did not answer {event!r} within {options.get('timeout', 60)} s"
            raise CallTimeout(text) from None

    @io_method
    async def close_room(self, room: Any, namespace: str | None = None) -> None:
        """Let all clients leave a room."""
        await self._managed(lambda manager: manager.close_room(room, namespace or "/"))

    # -- tasks, serving, tests ---------------------------------------------------------------------------------

    def start_background_task(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> BackgroundTask:
        """Start a task in the application's context; ``await`` it or its ``join()``. It is ended at shutdown.

        Called before the application serves, it starts with it.
        """
        return self._served().tasks.start(target, *args, **kwargs)

    @io_method
    async def sleep(self, seconds: float = 0) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def run(self, app: Any, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve the application with Hypercorn, for development.

        :param options: ``debug``, ``use_reloader`` (by default ``debug``), and those of ``Quart.run``;
            ``log_output``, ``reloader_options``, ``extra_files`` and ``allow_unsafe_werkzeug`` are accepted and mean
            nothing here. Unlike Flask-SocketIO's it does not refuse to run without a terminal.
        :raises RuntimeError: for a Flask application, which `decant serve` serves.
        """
        if not on_quart(app):
            raise RuntimeError("a Flask application is served by the command: decant serve --faces MODULE:APP")
        if port is None:
            _, _, named = (app.config["SERVER_NAME"] or "").rpartition(":")
            port = int(named) if named.isdigit() else 5000
        for name in ("log_output", "reloader_options", "extra_files", "allow_unsafe_werkzeug"):
            options.pop(name, None)
        debug = options.pop("debug", app.debug)
        app.run(host or "127.0.0.1", port, debug=debug, use_reloader=options.pop("use_reloader", debug), **options)

    @io_method
    async def test_client(
        self,
        app: Any,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Any = None,
        auth: Any = None,
        flask_test_client: Any = None,
    ) -> SocketIOTestClient:
        """A client for tests, connected: ``client = await socketio.test_client(app)``.

        :param flask_test_client: the application's test client, whose cookies it sends.
        """
        client = SocketIOTestClient(app, self._serving[app], flask_test_client)
        await client.connect(namespace, query_string, headers, auth)
        return client


def _callable(handler: F) -> F:
    if not callable(handler):
        raise ValueError("exception_handler must be callable")
    return handler
