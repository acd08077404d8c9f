"""The application: ``quart.Quart``, closer to Flask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

import quart
from werkzeug.datastructures import ImmutableDict
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, ServiceUnavailable
from werkzeug.wrappers import Response as WerkzeugResponse

from ..bridge import Threads, bridged, current_threads, refuse_eager_tasks
from ..errors import DecantError, Overloaded, Unavailable
from .background import BackgroundTasks
from .cli import AppGroup
from .connections import ELSEWHERE, HTTPConnection, WebsocketConnection
from .exchange import exchange_of
from .files import opened, send_from_directory
from .handlers import Workers, iscoroutinefunction, number
from .incoming import Request, Websocket
from .response import IterableBody, Response, StepsInThreads
from .stopping import Connections
from .templates import iterate_in_filters
from .versions import ClientDisconnected, takes_context

__all__ = ["Quart"]

F = TypeVar("F", bound=Callable[..., Any])
_URL_OPTIONS = ("_anchor", "_method", "_scheme", "_external")
_url_options: ContextVar[dict[str, Any]] = ContextVar("decant_url_options")
_QUARTS_MAX_AGE = quart.Quart.default_config["SEND_FILE_MAX_AGE_DEFAULT"]


class _TestClientClass:
    """:class:`decant.testing.Client`, imported when it is first asked for.

    A class and not None, as in Flask: extensions for Quart derive theirs from it (quart-schema).
    """

    def __get__(self, app: object, owner: type) -> Any:
        from ..testing import Client

        return Client


class _TestCliRunnerClass:
    """:class:`decant.testing.CliRunner`, as :class:`_TestClientClass`."""

    def __get__(self, app: object, owner: type) -> Any:
        from ..testing import CliRunner

        return CliRunner


class Quart(quart.Quart):
    """``quart.Quart`` whose API differs from Flask's by ``async`` and ``await`` only.

    Every request, WebSocket, streamed body, command and background task runs in the bridge (:mod:`decant.bridge`).
    Configuration, besides Quart's:

    - ``SYNC_WORKERS``: threads for synchronous handlers, 40.
    - ``SYNC_MAX_QUEUED``: how many calls may wait for one of them, 1,000; one more is answered with 503.
    - ``SYNC_HANDLERS``: ``"threads"``, or ``"loop"`` where none of them blocks (:func:`decant.quart.on_loop`).
    - ``TEARDOWN_TIMEOUT``: seconds that a cancelled handler and its teardown may take, 10.
    - ``SHUTDOWN_TIMEOUT``: seconds that requests and streams may go on after the server has begun to stop, 5.
    - ``WEBSOCKET_UNREAD_TIMEOUT``: seconds that 256 KiB of a WebSocket's messages may wait for its handler, 60; or
      ``None``: for ever.
    - ``FLASK_COMPAT``: take Flask's way where Flask and Quart contradict each other, ``True``.
    """

    asgi_http_class = HTTPConnection
    asgi_websocket_class = WebsocketConnection
    request_class = Request
    response_class = Response
    websocket_class = Websocket
    test_cli_runner_class: Any = _TestCliRunnerClass()
    test_client_class: Any = _TestClientClass()

    default_config = ImmutableDict(
        {
            **quart.Quart.default_config,
            "FLASK_COMPAT": True,
            "SHUTDOWN_TIMEOUT": 5,
            "SYNC_HANDLERS": "threads",
            "SYNC_MAX_QUEUED": 1_000,
            "SYNC_WORKERS": 40,
            "TEARDOWN_TIMEOUT": 10,
            "WEBSOCKET_UNREAD_TIMEOUT": 60,
        }
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workers = Workers(self.config)
        self.connections = Connections()
        self._background = BackgroundTasks(self.background_tasks)
        self.wrap_context: Callable[[Any], Any] = _as_it_is
        """What every request's context is entered through: :func:`decant.flask.share_proxies` sets it."""
        self.cli = AppGroup(app=self)
        self.cli.name = self.name

    # -- where handlers run ------------------------------------------------------------------------------------

    @property
    def threads(self) -> Threads:
        """The pool for synchronous handlers, and for :func:`decant.bridge.in_thread` while one is served."""
        return self.workers.threads

    def ensure_async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself if it is a coroutine function; else one that runs it where :meth:`sync_to_async` says."""
        return func if iscoroutinefunction(func) else self.sync_to_async(func)

    def sync_to_async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Run ``func`` in a thread, or on the loop (``SYNC_HANDLERS``, :func:`~decant.quart.on_loop`).

        A coroutine that it returns is awaited: the wrapper of a synchronous decorator around an ``async`` view.
        """
        return self.workers.wrap(func, self._tearing_down)

    def ensure_sync(self, func: F) -> F:
        """Flask's name for what its extensions' decorators call a view through: the view itself, to be awaited."""
        return func

    @staticmethod
    def _tearing_down() -> bool:
        exchange = exchange_of(quart.request.scope) if quart.has_request_context() else None  # type: ignore[arg-type]
        return exchange is None or exchange.tearing_down

    # -- one request -------------------------------------------------------------------------------------------

    def request_context(self, request: Any) -> Any:
        """As Quart's; the context of a request that is being served is popped undisturbed by cancellation."""
        context: Any = self.wrap_context(super().request_context(request))
        exchange = exchange_of(request.scope)
        return context if exchange is None else exchange.guard(context)

    def websocket_context(self, websocket: Any) -> Any:
        """As :meth:`request_context`."""
        context: Any = self.wrap_context(super().websocket_context(websocket))
        exchange = exchange_of(websocket.scope)
        return context if exchange is None else exchange.guard(context)

    async def handle_request(self, request: Any) -> Any:
        """As Quart's; what goes wrong before the view is found is answered, too."""
        response: Any
        try:
            response = await super().handle_request(request)
        except (HTTPException, Overloaded, Unavailable) as error:
            response = self._own(_answer(error).get_response())
        exchange = exchange_of(request.scope)
        if exchange is not None:
            exchange.on_close += map(self.ensure_async, getattr(response, "on_close", ()))
            body = getattr(response, "response", None)
            if self.config["FLASK_COMPAT"] and isinstance(body, IterableBody) and response.timeout is Ellipsis:
                response.timeout, exchange.send_timeout_s = None, self.config["RESPONSE_TIMEOUT"]
        return response

    async def handle_websocket(self, websocket: Any) -> Any:
        """As :meth:`handle_request`."""
        try:
            return await super().handle_websocket(websocket)
        except (HTTPException, Overloaded, Unavailable) as error:
            return self._own(_answer(error).get_response())

    async def handle_user_exception(self, *args: Any) -> Any:
        """As Quart's; :exc:`~decant.errors.Overloaded` and ``Unavailable`` without a handler of their own are 503."""
        *context, error = args
        handle: Any = super().handle_user_exception
        if isinstance(error, Overloaded | Unavailable) and not self._is_handled(error):
            error = _answer(error)
        return await handle(*context, error)

    def log_exception(self, *args: Any) -> None:
        """As Quart's, but for a client that went away while its body was read, which is no error here."""
        *context, exception_info = args
        log: Any = super().log_exception
        if not issubclass(exception_info[0], ClientDisconnected):
            log(*context, exception_info)

    def _is_handled(self, error: DecantError) -> bool:
        kinds = [kind for handlers in self.error_handler_spec.values() for kind in handlers.get(None, ())]
        return any(issubclass(kind, DecantError) and isinstance(error, kind) for kind in kinds)

    async def make_response(self, result: Any) -> Any:
        """As Quart's; the status may be a text, and the body any iterator, as in Flask."""
        status: Any = None
        if isinstance(result, tuple):
            value, *rest = result
            if rest and isinstance(rest[0], str | bytes):
                status, rest[0] = rest[0], None
            result = (self._streamed(value), *rest) if rest else result
        else:
            result = self._streamed(result)
        response: Any = await super().make_response(result)
        if isinstance(response, WerkzeugResponse) and self._compat():
            response = self._own(response)
        if status is not None:
            response.status = status.decode() if isinstance(status, bytes) else status
        return response

    def _streamed(self, value: Any) -> Any:
        if isinstance(value, Iterator | AsyncIterator | StepsInThreads):
            return self.response_class(value)
        return value

    def create_url_adapter(self, request: Any) -> Any:
        """As Quart's; a query that is not UTF-8 is a bad request, and Flask's ``PREFERRED_URL_SCHEME`` is heard.

        :raises werkzeug.exceptions.NotFound: if the request is not below the path that the application is mounted at.
        """
        if request is not None and request.scope.get(ELSEWHERE):
            raise NotFound
        try:
            adapter = super().create_url_adapter(request)
        except UnicodeDecodeError:
            raise BadRequest from None
        if request is None and adapter is not None and self._compat() and not self.config["PREFER_SECURE_URLS"]:
            adapter.url_scheme = self.config["PREFERRED_URL_SCHEME"]
        return adapter

    def url_for(self, endpoint: str, **values: Any) -> str:
        """As Quart's; ``url_build_error_handlers`` get ``_anchor``, ``_method``, ``_scheme`` and ``_external``, as in
        Flask, among the values."""
        token = _url_options.set({name: values.get(name) for name in _URL_OPTIONS})
        try:
            return super().url_for(endpoint, **values)
        finally:
            _url_options.reset(token)

    def handle_url_build_error(self, error: Any, endpoint: str, values: dict[str, Any]) -> str:
        """As Quart's, with the options of :meth:`url_for`."""
        return super().handle_url_build_error(error, endpoint, values | _url_options.get({}))

    def _own(self, response: WerkzeugResponse) -> Any:
        """An HTTP exception's answer as a response of this application, so that hooks find the methods they expect."""
        body = response.get_data() if response.is_sequence else response.response
        return self.response_class(body, response.status, response.headers)

    def _compat(self) -> bool:
        return bool(self.config["FLASK_COMPAT"])

    # -- serving -----------------------------------------------------------------------------------------------

    async def startup(self) -> None:
        """As Quart's, in the bridge.

        :raises ConfigError: if a value is wrong.
        :raises RuntimeError: if the event loop starts tasks eagerly.
        """
        refuse_eager_tasks(asyncio.get_running_loop())
        for key in ("TEARDOWN_TIMEOUT", "SHUTDOWN_TIMEOUT"):
            number(self.config, key, 0, (int, float))
        if self.config["WEBSOCKET_UNREAD_TIMEOUT"] is not None:
            number(self.config, "WEBSOCKET_UNREAD_TIMEOUT", 0, (int, float))
        self.connections.begin(self.config["SHUTDOWN_TIMEOUT"])
        self.workers.report(self.name)
        current_threads.set(self.threads)
        await bridged(super().startup())

    async def shutdown(self) -> None:
        """As Quart's, in the bridge, after what is served has ended or ``SHUTDOWN_TIMEOUT``, and the background tasks
        have ended or ``BACKGROUND_TASK_SHUTDOWN_TIMEOUT``."""
        self.shutdown_event.set()
        await self.connections.stop()
        await self._background.drain(self.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"])
        await bridged(super().shutdown())
        self.workers.close()

    def before_first_request(self, func: F) -> F:
        """What Flask had until 2.3: here ``before_serving``, which runs once before the first request is taken."""
        return self.before_serving(func)

    def add_background_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """As Quart's; also from a synchronous handler. The task is bridged, kept, and drained at shutdown."""
        self._background.start(partial(self._in_background, func, *args, **kwargs))

    async def _in_background(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        current_threads.set(self.threads)
        handle: Any = self.handle_background_exception
        async with self.app_context() as context:
            try:
                await self.ensure_async(func)(*args, **kwargs)
            except Exception as error:
                await handle(*([context] if takes_context(handle) else []), error)

    # -- files and templates -----------------------------------------------------------------------------------

    async def send_static_file(self, filename: str) -> Any:
        """The view of ``/static``: Flask's headers, as :func:`decant.quart.send_file`."""
        if not self.has_static_folder:
            raise RuntimeError("'static_folder' must be set to serve static files")
        return await send_from_directory(self.static_folder, filename, max_age=self.get_send_file_max_age(filename))

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """``SEND_FILE_MAX_AGE_DEFAULT`` in seconds, whose default is Flask's ``None`` (``FLASK_COMPAT``)."""
        if self._compat() and self.config["SEND_FILE_MAX_AGE_DEFAULT"] is _QUARTS_MAX_AGE:
            return None
        return super().get_send_file_max_age(filename)

    async def open_resource(  # type: ignore[override]
        self, resource: Any = None, mode: str = "rb", encoding: str | None = None, *, path: Any = None
    ) -> Any:
        """As Quart's, with Flask's ``encoding``: ``async with await app.open_resource("schema.sql") as file``."""
        return opened(self.root_path, path or resource, mode, encoding, readable_only=True)

    async def open_instance_resource(  # type: ignore[override]
        self, resource: Any = None, mode: str = "rb", encoding: str | None = "utf-8", *, path: Any = None
    ) -> Any:
        """:meth:`open_resource` in ``app.instance_path``, where files may be written, too."""
        return opened(self.instance_path, path or resource, mode, encoding, readable_only=False)

    def create_jinja_environment(self) -> Any:
        """As Quart's; templates are reloaded in debug mode, as Flask does it (``FLASK_COMPAT``), and ``max`` and other
        filters that iterate may come after ``map`` and its like.
        """
        environment = super().create_jinja_environment()
        iterate_in_filters(environment)
        if self._compat() and self.config["TEMPLATES_AUTO_RELOAD"] is None:
            environment.auto_reload = self.debug
        return environment

    # -- tests -------------------------------------------------------------------------------------------------

    def test_client(self, use_cookies: bool = True, **kwargs: Any) -> Any:
        """A :class:`decant.testing.Client`, unless ``test_client_class`` says otherwise."""
        client_class = self.test_client_class or _TestClientClass().__get__(self, type(self))
        return client_class(self, use_cookies=use_cookies, **kwargs)

    def test_request_context(self, *args: Any, **kwargs: Any) -> Any:
        """Flask's, with the arguments of :meth:`decant.testing.Client.open`, Quart's among them: to be entered with
        ``async with``. With ``FLASK_COMPAT = False`` it is Quart's."""
        if not self._compat():
            return super().test_request_context(*args, **kwargs)
        from ..testing.outgoing import request_for

        return self.request_context(request_for(self, args, kwargs))


def _as_it_is(context: Any) -> Any:
    return context


def _answer(error: HTTPException | Overloaded | Unavailable) -> HTTPException:
    if isinstance(error, HTTPException):
        return error
    answer = ServiceUnavailable(retry_after=error.retry_after_s)
    answer.__cause__ = error
    return answer
