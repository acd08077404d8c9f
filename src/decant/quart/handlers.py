"""Where a handler runs: coroutines on the loop, synchronous functions in threads, or on the loop if told so."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import wraps
from inspect import isawaitable, isgenerator
from inspect import iscoroutinefunction as is_coroutine_function
from typing import TYPE_CHECKING, Any, TypeVar

from ..bridge import Threads
from ..errors import ConfigError
from ..ops.registry import gauge
from .response import StepsInThreads, StepsOnLoop

if TYPE_CHECKING:
    from flask.config import Config

__all__ = ["Workers", "iscoroutinefunction", "on_loop"]

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "decant_on_loop"
_ALLOWED = ("threads", "loop")

# inspect's does not know functools.partial of a coroutine function before Python 3.12; asyncio's is deprecated in 3.14.
iscoroutinefunction = is_coroutine_function if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction


def on_loop(view: F) -> F:
    """Mark a synchronous function as one that does not block: it runs on the event loop, in the request's bridge.

    There its synchronous calls may wait (:func:`decant.wait`) without holding a thread. It may be the innermost or
    the outermost decorator, as long as the others use ``functools.wraps``.
    """
    setattr(view, _MARK, True)
    return view


def choice(config: Config, key: str, allowed: tuple[str, ...]) -> str:
    """A configuration value that is one of several words."""
    value = config[key]
    if value not in allowed:
        raise ConfigError(key, value, "one of " + ", ".join(map(repr, allowed)))
    return str(value)


def number(config: Config, key: str, least: float, kind: type | tuple[type, ...] = int) -> Any:
    """A configuration value that is a number, at least ``least``."""
    value: Any = config[key]
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if not fits or value < least:
        raise ConfigError(key, value, f"{'an integer' if kind is int else 'a number'}, at least {least}")
    return value


class Workers:
    """The threads of one application for its synchronous handlers, made when they are first needed.

    :param config: ``SYNC_WORKERS``, ``SYNC_MAX_QUEUED``, ``SYNC_HANDLERS``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._threads: Threads | None = None
        self._reserve = Threads(4, max_queued=sys.maxsize)

    def check(self) -> None:
        """:raises ConfigError: if a value is wrong."""
        choice(self.config, "SYNC_HANDLERS", _ALLOWED)
        number(self.config, "SYNC_WORKERS", 1)
        number(self.config, "SYNC_MAX_QUEUED", 0)

    @property
    def threads(self) -> Threads:
        """The pool, which is also that of :func:`decant.bridge.in_thread` while the application handles something."""
        if self._threads is None:
            self.check()
            self._threads = Threads(self.config["SYNC_WORKERS"], max_queued=self.config["SYNC_MAX_QUEUED"])
        return self._threads

    def report(self, app: str) -> None:
        """Show the pool in the metrics."""
        for name, text, value in (
            ("decant_sync_threads", "Threads for synchronous handlers", lambda: self.threads.size),
            ("decant_sync_threads_busy", "Threads that run a synchronous handler now", lambda: self.threads.busy),
            ("decant_sync_queued", "Synchronous handlers that wait for a thread now", lambda: self.threads.queued),
        ):
            gauge(name, text, ("app",)).set_function(value, app=app)

    def wrap(self, function: Callable[..., Any], must_run: Callable[[], bool]) -> Callable[..., Any]:
        """The same function, to be awaited; a coroutine that it returns, as a decorator's wrapper does, is awaited too.

        :param must_run: says whether it has to run even where the queue is full, as teardown hooks have.
        """
        marked = getattr(function, _MARK, False)

        @wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            loop = marked or choice(self.config, "SYNC_HANDLERS", _ALLOWED) == "loop"
            if loop:
                result = function(*args, **kwargs)
            else:
                threads = self.threads
                if threads.full and must_run():
                    threads = self._reserve
                result = await threads.run(function, *args, **kwargs)
            if isawaitable(result):
                result = await result
            if isgenerator(result):
                return StepsOnLoop(result) if loop else StepsInThreads(result)
            return result

        return call

    def close(self) -> None:
        """Let the threads go; they come back if something is handled again."""
        self._reserve.close()
        if self._threads is not None:
            self._threads.close()
            self._threads = None
