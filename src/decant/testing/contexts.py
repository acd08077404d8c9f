"""What the test client sees of a request from inside: its contexts, kept for the test, and its exception.

Flask's ``with client:`` ends a request as usual, then makes its contexts current again for the test, until
the next request or the end of the block, when they are torn down once more. So does this, in both of Quart's
shapes: 0.22 has an application and a request context, 0.23 one for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, TypeVar
from weakref import WeakSet

import quart.globals
from quart import Quart, got_request_exception, request_started

from ..bridge import bridged

__all__ = ["Exchange", "Kept", "drop_ended"]

T = TypeVar("T")
_current: ContextVar[Exchange | None] = ContextVar("decant_exchange", default=None)
_ended: WeakSet[Any] = WeakSet()


def _pushed() -> list[Any]:
    """Quart's contexts that are current, in the order in which they are pushed."""
    proxies = (getattr(quart.globals, name, None) for name in ("app_ctx", "request_ctx"))
    return [proxy._get_current_object() for proxy in proxies if proxy is not None]


class Exchange:
    """One request: signals tell its contexts and its exception, whichever task or thread the test runs in."""

    def __init__(self, app: Quart) -> None:
        self.app = app
        self.contexts: list[Any] = []
        self.error: BaseException | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within, the application's signals are noted if they come from a request that began here."""
        token = _current.set(self)
        try:
            with (
                request_started.connected_to(self._started, sender=self.app),
                got_request_exception.connected_to(self._failed, sender=self.app),
            ):
                yield
        finally:
            _current.reset(token)

    async def _started(self, sender: Any, **extra: Any) -> None:
        if _current.get() is self:
            self.contexts = _pushed()

    async def _failed(self, sender: Any, exception: BaseException, **extra: Any) -> None:
        if _current.get() is self:
            self.error = exception


class Kept:
    """Contexts of a request that has ended, current in the test until :meth:`end`."""

    def __init__(self, contexts: list[Any]) -> None:
        # Quart 0.22 uses an application context that surrounds the request: that one is not ours.
        around = {id(value) for value in copy_context().values()}
        self._contexts = [context for context in contexts if id(context) not in around]
        # Pushed and popped in a context of their own, for the test may begin and end in two (a fixture's, its own).
        self._home = copy_context()
        self._tokens: list[tuple[ContextVar[Any], Token[Any]]] = []

    async def begin(self) -> None:
        """Push them, and make them current for the caller."""
        await _run_in(self._home, self._push())
        kept = {id(context) for context in self._contexts}
        for variable, value in self._home.items():
            if id(value) in kept:
                self._tokens.append((variable, variable.set(value)))

    async def end(self) -> None:
        """Pop them, which runs the teardown functions; what was current before is so again."""
        _ended.update(self._contexts)
        for variable, token in reversed(self._tokens):
            with suppress(ValueError):  # set elsewhere
                variable.reset(token)
        drop_ended()
        await _run_in(self._home, self._pop())

    async def _push(self) -> None:
        for context in self._contexts:
            await context.push()

    async def _pop(self) -> None:
        for context in reversed(self._contexts):
            await context.pop(None)


async def _run_in(context: Context, steps: Coroutine[Any, Any, T]) -> T:
    return await asyncio.get_running_loop().create_task(bridged(steps), context=context)


def drop_ended() -> None:
    """Let no context that has ended be current: Quart 0.22 would use its ``g`` again.

    A context variable can be reset only where it was set, and a block may begin in a fixture and end in
    another task, or each request have a task of its own, so that ended contexts may be left over.
    """
    ended = {id(context) for context in _ended}
    if ended:
        for variable, value in copy_context().items():
            if id(value) in ended:
                variable.set(None)
