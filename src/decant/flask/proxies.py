"""``share_proxies()``: Flask's ``request``, ``session``, ``g`` and ``current_app`` within a Quart application.

So extensions of Flask that do no network I/O work there. Nothing of Flask is patched: its own context variables, at
which its proxies look, are set for each request of Quart's to an adapter, and set back after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar, Token
from functools import partial, wraps
from typing import Any, Final, Self, TypeVar

import jinja2
import quart
from quart.globals import app_ctx

from ..bridge import can_wait, wait
from ..quart import Quart
from ..quart.versions import takes_context
from .flask_globals import Variables
from .plain_request import PlainRequest

__all__ = ["share_proxies", "waiting"]

T = TypeVar("T")
_pushed: Final[ContextVar[tuple[Token[Any] | None, ...]]] = ContextVar("decant_shared_contexts", default=())


class _Adapter:
    """What stands in for a context of Flask's; ``flask.stream_with_context`` and its like enter it once more."""

    variable: ContextVar[Any]

    def __init__(self) -> None:
        self._tokens: list[Token[Any]] = []

    def push(self) -> None:
        self._tokens.append(self.variable.set(self))

    def pop(self, *_: object) -> None:
        Variables.reset(self.variable, self._tokens.pop())

    def __enter__(self) -> Self:
        self.push()
        return self

    def __exit__(self, *_: object) -> None:
        self.pop()


class _AppAdapter(_Adapter):
    """For a ``flask.ctx.AppContext``."""

    def __init__(self, variables: Variables, app: Quart, g: Any) -> None:
        super().__init__()
        self.variable, self.app, self.g = variables.app, app, g


class _RequestAdapter(_Adapter):
    """For a ``flask.ctx.RequestContext``, with the application's."""

    def __init__(self, variables: Variables, app: _AppAdapter, request: Any, session: Any) -> None:
        super().__init__()
        self.variable, self.app, self.request, self._session = (
            variables.request,
            app.app,
            PlainRequest(request),
            session,
        )
        self.flashes: list[tuple[str, str]] | None = None
        self._after_request_functions = _AfterRequest()
        self._variables, self._app = variables, app

    @property
    def session(self) -> Any:
        self._session.accessed = True
        return self._session

    def copy(self) -> _RequestAdapter:
        app = _AppAdapter(self._variables, self._app.app, self._app.g)
        return _RequestAdapter(self._variables, app, self.request._request, self._session)

    def push(self) -> None:
        self._app.push()
        super().push()

    def pop(self, *_: object) -> None:
        super().pop()
        self._app.pop()


class _AfterRequest:
    """What ``flask.after_this_request`` appends to."""

    def append(self, function: Callable[[Any], Any]) -> None:
        async def call(response: Any) -> Any:
            return await quart.current_app.ensure_async(function)(response)

        quart.after_this_request(call)


class _Shared:
    """A request's context, within which Flask's variable of the request is set. That of the application follows Quart's
    application context, which is pushed with it.
    """

    def __init__(self, variables: Variables, app: Quart, context: AbstractAsyncContextManager[Any]) -> None:
        self._variables, self._app, self._context = variables, app, context
        self._token: Token[Any] | None = None
        self._adapter: _RequestAdapter | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def __aenter__(self) -> Any:
        context = await self._context.__aenter__()
        if not self._variables.is_real():
            request = quart.request if quart.has_request_context() else quart.websocket
            app = _AppAdapter(self._variables, self._app, _object(quart.g))
            self._adapter = _RequestAdapter(self._variables, app, _object(request), _object(quart.session))
            self._token = self._variables.request.set(self._adapter)
        return context

    async def __aexit__(self, *error: Any) -> Any:
        try:
            return await self._context.__aexit__(*error)
        finally:
            if self._token is not None:
                self._variables.reset(self._variables.request, self._token)
            if self._adapter is not None and self._adapter._tokens:
                self._adapter.push()  # by a stream of Flask 3.0, which enters it before it begins: it is to go on


def _object(proxy: Any) -> Any:
    return proxy._get_current_object()  # Werkzeug's documented way out of a LocalProxy


def share_proxies(quart_app: Quart) -> None:
    """Let ``flask.request``, ``session``, ``g``, ``current_app``, ``url_for``, ``flash``, ``render_template`` and
    their like work in the requests, WebSockets and application contexts of a ``decant.Quart`` application.

    Call it before the extensions' ``init_app``::

        app = Quart(__name__)
        share_proxies(app)
        login_manager.init_app(app)

    ``flask.current_app`` is the Quart application itself, ``flask.g`` and ``flask.session`` are Quart's; of
    ``flask.request`` see :class:`~decant.flask.plain_request.PlainRequest`. Where a real Flask application handles a
    request, mounted in this one, its own contexts come first. Templates, which are rendered by one environment, may be
    rendered from code that does not await.

    :raises TypeError: for another class of application.
    :raises RuntimeError: for a version of Flask whose contexts are not known.
    """
    if not isinstance(quart_app, Quart):
        raise TypeError(f"share_proxies() is for a decant.Quart application, not {type(quart_app).__name__}")
    if "decant.proxies" in quart_app.extensions:
        return
    quart_app.extensions["decant.proxies"] = variables = Variables()
    quart_app.wrap_context = partial(_Shared, variables, quart_app)
    _follow_app_contexts(quart_app, variables)
    _render_without_await(quart_app)


def _follow_app_contexts(quart_app: Quart, variables: Variables) -> None:
    async def pushed(sender: Any, **_: Any) -> None:
        token = None if variables.is_real() else variables.app.set(_AppAdapter(variables, sender, _object(quart.g)))
        _pushed.set((*_pushed.get(), token))

    async def popped(sender: Any, **_: Any) -> None:
        *before, token = _pushed.get() or (None,)
        _pushed.set(tuple(before))
        if token is not None:
            variables.reset(variables.app, token)

    quart.appcontext_pushed.connect(pushed, sender=quart_app, weak=False)
    quart.appcontext_popped.connect(popped, sender=quart_app, weak=False)


# -- templates ---------------------------------------------------------------------------------------------------------


class _Template(jinja2.Template):
    """A template of an asynchronous environment that synchronous code may render, too: it waits."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        return wait(self.render_async(*args, **kwargs)) if can_wait() else super().render(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        if not can_wait():
            yield from super().generate(*args, **kwargs)
            return
        parts = self.generate_async(*args, **kwargs)
        while (part := wait(anext(parts, None))) is not None:
            yield part


class _Done(Awaitable[None]):
    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


def _render_without_await(app: Quart) -> None:
    update: Any = app.update_template_context

    @wraps(update)
    def update_template_context(*given: Any) -> Awaitable[None]:
        """As Quart's, and done already where that can be waited for: Flask's functions do not await it."""
        if len(given) == 1 and takes_context(update):
            given = (_object(app_ctx), *given)
        if not can_wait():
            return update(*given)  # type: ignore[no-any-return]
        wait(update(*given))
        return _Done()

    kind = app.jinja_environment
    environment: Any = type(kind.__name__, (kind,), {"template_class": _Template})
    vars(app).update(update_template_context=update_template_context, jinja_environment=environment)
    if "jinja_env" in vars(app):
        app.jinja_env.template_class = _Template


# -- what extensions are given -----------------------------------------------------------------------------------------


def waiting(function: Callable[..., Awaitable[T]]) -> Callable[..., T]:
    """Make a plain function of a coroutine function.

    For an extension that calls it without ``await``::

        @login_manager.user_loader
        @waiting
        async def load_user(user_id):
            return await db.session.get(User, int(user_id))
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> T:
        return wait(function(*args, **kwargs))

    for mark in ("_is_coroutine_mark", "_is_coroutine"):
        vars(call).pop(mark, None)
    return call
