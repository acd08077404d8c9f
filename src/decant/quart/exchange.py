"""One request or WebSocket, from its first byte to the end of its teardown.

Its handler runs in a task of its own, so that a client that goes away cancels the handler *once* and never its
teardown: hooks that roll a transaction back and give a connection back run to their end, within ``grace_s``.
And where a response streams with its context, the context is kept until the last byte is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any

from ..bridge import bridged
from .backlog import Backlog

__all__ = ["Exchange", "exchange_of"]

_KEY = "decant.exchange"
_abandoned: set[asyncio.Task[Any]] = set()
logger = logging.getLogger("decant.quart")


def exchange_of(scope: MutableMapping[str, Any]) -> Exchange | None:
    """The exchange of the request or WebSocket with this ASGI scope; ``None`` for one made by hand in a test."""
    return scope.get(_KEY)


def _end(ended: asyncio.Future[None], _: asyncio.Task[Any]) -> None:
    if not ended.done():
        ended.set_result(None)


class Exchange:
    """What the connection, the context and the response of one request have to tell each other.

    :param grace_s: how long a cancelled handler and its teardown hooks may take.
    """

    def __init__(self, scope: MutableMapping[str, Any], grace_s: float) -> None:
        scope[_KEY] = self
        self.grace_s = grace_s
        self.tearing_down = False
        self.keeps_context = False
        self.send_timeout_s: float | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self.backlog: Backlog | None = None
        self.on_close: list[Callable[[], Awaitable[Any]]] = []
        self._kept: _Guarded | None = None
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the handler, bridged, until it has answered and torn down.

        :raises asyncio.CancelledError: when that is done, if this task was cancelled meanwhile.
        """
        loop = asyncio.get_running_loop()
        self._task = task = loop.create_task(bridged(work))
        ended = loop.create_future()
        task.add_done_callback(partial(_end, ended))
        try:
            await ended
        except asyncio.CancelledError:  # raised below, when the work has ended
            self.cancel()
            await self._ending(task, loop.time() + self.grace_s)
        else:
            return task.result()
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A cancelled request failed while it cleaned up", exc_info=error)
        raise asyncio.CancelledError

    def cancel(self) -> None:
        """Cancel the handler now; or, where it is in its teardown, what would follow that."""
        self._cancelled = True
        if self._task is not None and not self.tearing_down:
            self._task.cancel()

    async def _ending(self, task: asyncio.Task[None], deadline: float) -> None:
        """Wait for it until the deadline, whoever cancels this task again."""
        loop = asyncio.get_running_loop()
        while not task.done() and (left := deadline - loop.time()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=left)
        if not task.done():
            await self._abandon(task)

    async def _abandon(self, task: asyncio.Task[None]) -> None:
        logger.error("%r did not end within %s s of its cancellation", task, self.grace_s)
        _abandoned.add(task)
        task.add_done_callback(_abandoned.discard)
        task.cancel()
        await asyncio.sleep(0)

    def guard(self, context: AbstractAsyncContextManager[Any]) -> AbstractAsyncContextManager[Any]:
        """The request's context, popped undisturbed by cancellation, and as late as its response needs it."""
        return _Guarded(self, context)

    async def close(self, error: BaseException | None) -> None:
        """The response has been sent, or has failed: pop a context that was kept for it, call ``call_on_close``.

        Each of these functions is called, to its end: many a client goes away as soon as it has its answer.
        """
        kept, self._kept = self._kept, None
        functions, self.on_close = self.on_close, []
        try:
            if kept is not None:
                await kept.pop(error)
        finally:
            self.tearing_down = True
            try:
                async with AsyncExitStack() as stack:
                    for function in reversed(functions):
                        stack.push_async_callback(function)
            finally:
                self.tearing_down = False


class _Guarded:
    def __init__(self, exchange: Exchange, context: AbstractAsyncContextManager[Any]) -> None:
        self.exchange, self.context = exchange, context

    async def __aenter__(self) -> Any:
        return await self.context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and self.exchange.keeps_context:
            self.exchange._kept = self
        else:
            await self.pop(error)

    async def pop(self, error: BaseException | None) -> None:
        exchange = self.exchange
        exchange.tearing_down = True
        try:
            await self.context.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
        finally:
            exchange.tearing_down = False
        if exchange._cancelled and error is None:
            raise asyncio.CancelledError  # it arrived during the teardown
