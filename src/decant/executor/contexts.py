"""What a job sees of the request that submitted it: application, a copy of ``g``, request and session."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import Any, Protocol

import flask
import quart

from ..bridge import Threads, wait
from ..context import current_app, current_g, on_quart

__all__ = ["Snapshot", "is_async", "push_app_context", "snapshot"]

Function = Callable[[], Any]
is_async = inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction


class Snapshot(Protocol):
    """The context in which a job was submitted; used once, since a request's context is entered once."""

    async def call(self, function: Function, threads: Threads) -> Any:
        """Call it in this context: in a thread, or on the loop if it is a coroutine function of a Quart application."""


def _one_context(app: Any) -> bool:
    """Whether request and app context are one, so that a copy of the request's has a ``g`` of its own."""
    return hasattr(app.app_context(), "has_request")


def _g_of(framework: Any, app: Any, copy_g: bool) -> dict[str, Any]:
    here = copy_g and framework.has_app_context() and framework.current_app == app
    return dict(vars(framework.g._get_current_object())) if here else {}


def _fill(framework: Any, g: dict[str, Any]) -> None:
    vars(framework.g._get_current_object()).update(g)


class QuartSnapshot:
    """Quart's contexts are entered on the loop."""

    def __init__(self, app: Any, copy_g: bool) -> None:
        self.app, self.g = app, _g_of(quart, app, copy_g)
        self.enter: Callable[..., Awaitable[Any]] | None = None
        self.alone = _one_context(app)
        if quart.has_app_context() and quart.current_app == app:
            if quart.has_request_context():
                self.enter = quart.copy_current_request_context(self._inside)
            elif quart.has_websocket_context():
                self.enter = quart.copy_current_websocket_context(self._inside)

    async def call(self, function: Function, threads: Threads) -> Any:
        """As :meth:`Snapshot.call`."""
        if self.enter is not None and self.alone:
            return await self.enter(function, threads)
        async with self.app.app_context():
            return await (self.enter or self._inside)(function, threads)

    async def _inside(self, function: Function, threads: Threads) -> Any:
        _fill(quart, self.g)
        value = function() if is_async(function) else await threads.run(function)
        return await value if isawaitable(value) else value


class FlaskSnapshot:
    """Flask's contexts are entered in the thread; a coroutine is waited for there."""

    def __init__(self, app: Any, copy_g: bool) -> None:
        self.app, self.g = app, _g_of(flask, app, copy_g)
        here = flask.has_request_context() and flask.current_app == app
        self.enter = flask.copy_current_request_context(self._inside) if here else None
        self.alone = _one_context(app)

    async def call(self, function: Function, threads: Threads) -> Any:
        """As :meth:`Snapshot.call`."""
        return await threads.run(self._enter, function)

    def _enter(self, function: Function) -> Any:
        if self.enter is not None and self.alone:
            return self.enter(function)
        with self.app.app_context():
            return (self.enter or self._inside)(function)

    def _inside(self, function: Function) -> Any:
        _fill(flask, self.g)
        value = function()
        return wait(value) if isawaitable(value) else value


def snapshot(app: Any, copy_g: bool) -> Snapshot:
    """The context that is active now; if it is not that application's, a new one of it."""
    return QuartSnapshot(app, copy_g) if on_quart(app) else FlaskSnapshot(app, copy_g)


def push_app_context(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function within a new context of the application that is current now, with a copy of its ``g``.

    As Flask-Executor's; in Quart it is to be awaited, and ``fn`` may be a coroutine function.

    :raises RuntimeError: outside an application context.
    """
    app, g = current_app(), dict(vars(current_g()))

    @wraps(fn)
    def in_flask(*args: Any, **kwargs: Any) -> Any:
        with app.app_context():
            vars(current_g()).update(g)
            return fn(*args, **kwargs)

    @wraps(fn)
    async def in_quart(*args: Any, **kwargs: Any) -> Any:
        async with app.app_context():
            vars(current_g()).update(g)
            value = fn(*args, **kwargs)
            return await value if isawaitable(value) else value

    return in_quart if on_quart(app) else in_flask
