"""Where a request of a Flask application runs: in a thread, or on the event loop, in the bridge of its task.

The whole of it runs there, hooks and streamed body too. On the loop its synchronous calls may wait
(:func:`decant.wait`), so that an async driver below SQLAlchemy, or a face, lets others run meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial, wraps
from io import BytesIO
from typing import Any, Final, Literal, TypeVar

import flask
from werkzeug.exceptions import HTTPException

from ..bridge import Threads, bridged, current_threads, wait
from ..errors import ConfigError
from .environ import environ_of
from .marks import Blocking
from .watchdog import Subject, Watchdog
from .websockets import polls_for_long

__all__ = ["AT_END", "Mode", "Views", "await_on_loop"]

Mode = Literal["threads", "loop"]
Function = Callable[[], Any]
T = TypeVar("T")
AT_END: Final[list[Function]] = []
"""Called where a request ran, after it: what gives back the thread-locals that were made the request's."""
_MODES: Final = ("threads", "loop")


class Views:
    """Chooses, for each request, between the event loop and a thread.

    :param mode: ``"threads"``: every request runs in one of ``threads``. ``"loop"``: on the loop, but for the views
        that are marked :func:`~decant.flask.blocking` or listed in ``DECANT_BLOCKING_VIEWS``.
    :param watchdog: of the loop that serves; ``None``: nobody looks.

    ``async def`` views, hooks and error handlers are awaited on the serving loop in both modes: :meth:`to_sync` becomes
    the application's ``async_to_sync``, unless its class has one of its own.
    """

    def __init__(self, app: flask.Flask, mode: Mode, threads: Threads, watchdog: Watchdog | None = None) -> None:
        if mode not in _MODES:
            raise ConfigError("views", mode, "one of " + ", ".join(map(repr, _MODES)))
        self.app, self.mode, self.threads, self.watchdog = app, mode, threads, watchdog
        self.blocking = Blocking(app)
        await_on_loop(app, self.to_sync)

    def check(self) -> None:
        """:raises ConfigError: if ``DECANT_BLOCKING_VIEWS`` names what is not there."""
        _ = self.blocking.endpoints

    def place(self, scope: Mapping[str, Any]) -> Literal["loop", "thread"]:
        """Where a request runs.

        :param scope: its ASGI scope, or its WSGI environ.
        """
        if self.mode == "threads" or polls_for_long(self.app, scope):
            return "thread"
        if not self.blocking.endpoints:
            return "loop"
        endpoint, method = self.endpoint(scope), scope.get("method") or scope.get("REQUEST_METHOD", "GET")
        return "thread" if endpoint is not None and (endpoint, method) in self.blocking else "loop"

    async def run(self, function: Function, scope: Mapping[str, Any]) -> None:
        """Run the whole of a request there; an exception of it is raised here, and cancelling this ends its next wait.

        :raises Overloaded: if it needs a thread, and the pool's queue is full.
        """
        current_threads.set(self.threads)
        if self.place(scope) == "thread":
            await self.threads.run(_InThread(function, partial(self._describe, scope)))
            return
        if self.watchdog is None:
            await bridged(_on_loop(function))
        else:
            await self.watchdog.watch(_on_loop(function), partial(self._describe, scope))

    async def watched(self, steps: Coroutine[Any, Any, T], name: str, text: str, function: Any) -> T:
        """Run what is no request, as a handler of Socket.IO, on the loop in the bridge, under the watchdog.

        :param name: its value of the metrics' label ``view``, and ``text`` what the log calls it.
        """
        current_threads.set(self.threads)
        steps = _awaited_to_its_end(steps)
        if self.watchdog is None:
            return await bridged(steps)
        return await self.watchdog.watch(steps, lambda: Subject(name, text, function))

    # -- async def ---------------------------------------------------------------------------------------------

    def to_sync(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """``app.async_to_sync``: the coroutine is awaited on the serving loop, in the request's context.

        It is the task of the request that waits, or a thread of it; where no loop runs (a command, Flask's own test
        client), one that the thread keeps.
        """

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            if asyncio._get_running_loop() is None and self.watchdog is not None and self.watchdog.is_running:
                # From a thread; on the loop it is part of what is watched.
                steps = self.watchdog.watch(steps, partial(_describe_call, function, _endpoint_here()))
            return wait(steps)

        return call

    # -- routing -----------------------------------------------------------------------------------------------

    def endpoint(self, scope: Mapping[str, Any]) -> str | None:
        """That of the view which a request is for; ``None`` if there is none."""
        environ = scope if "PATH_INFO" in scope else environ_of(dict(scope), BytesIO())
        try:
            adapter = self.app.create_url_adapter(self.app.request_class(dict(environ)))
            return None if adapter is None else str(adapter.match()[0])
        except (HTTPException, UnicodeError, ValueError):  # a redirect is one, too
            return None

    def _describe(self, scope: Mapping[str, Any]) -> Subject:
        endpoint = self.endpoint(scope)
        method = scope.get("method") or scope.get("REQUEST_METHOD")
        path = str(scope.get("path") or scope.get("PATH_INFO", ""))[:200]
        name = "a request without a view" if endpoint is None else f"the view {endpoint!r}"
        return Subject(endpoint, f"{name} ({method} {path!r})", self.app.view_functions.get(endpoint or ""))


def await_on_loop(app: flask.Flask, to_sync: Callable[..., Any]) -> None:
    """Set ``app.async_to_sync``, Flask's hook for how ``async def`` functions are called, on this one application."""
    if type(app).async_to_sync is flask.Flask.async_to_sync:
        app.async_to_sync = to_sync  # type: ignore[method-assign]


class _InThread:
    """A request for a thread. A log that names it names its view, and shows nothing of what the client has sent."""

    def __init__(self, function: Function, describe: Callable[[], Subject]) -> None:
        self._function, self._describe = function, describe

    def __call__(self) -> None:
        _to_its_end(self._function)

    def __repr__(self) -> str:
        return self._describe().text


def _to_its_end(function: Function) -> None:
    try:
        function()
    finally:
        for end in AT_END:
            end()


async def _awaited_to_its_end(steps: Coroutine[Any, Any, T]) -> T:
    try:
        return await steps
    finally:
        for end in AT_END:
            end()


async def _on_loop(function: Function) -> None:
    _to_its_end(function)


def _endpoint_here() -> str | None:
    return flask.request.endpoint if flask.has_request_context() else None


def _describe_call(function: Callable[..., Any], endpoint: str | None) -> Subject:
    name = getattr(function, "__qualname__", repr(function))
    text = f"the async function {name!r}" + (f" of the view {endpoint!r}" if endpoint else "")
    return Subject(endpoint, text, function)
