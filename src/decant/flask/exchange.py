"""One HTTP request, from its head to the end of its teardown, whatever its client does meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, Final

from werkzeug.exceptions import InternalServerError, ServiceUnavailable

from ..errors import Overloaded
from .answer import Answer, respond
from .body import Input, body_of
from .environ import environ_of
from .sending import Send, Sending

__all__ = ["ERRORS", "Exchange", "Limits"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Run = Callable[[Callable[[], None], Scope], Awaitable[None]]
logger = logging.getLogger("decant.flask")
ERRORS: Final = "decant.errors"
"""The key in an ASGI scope of a list that takes what the application raises, instead of an answer with status 500."""
_abandoned: set[asyncio.Task[Any]] = set()


@dataclass(frozen=True)
class Limits:
    """What one request may take: bytes of body in memory, bytes of body, seconds of a silent client, of its end."""

    spool: int
    max_body: int | None
    idle_s: float
    grace_s: float


class Exchange:
    """Runs the application in a task of its own, so that a client that goes away cancels the view *once* and never its
    teardown, and listens to the client meanwhile.
    """

    def __init__(self, app: Any, scope: Scope, send: Send, limits: Limits) -> None:
        self.app, self.scope, self.limits = app, scope, limits
        self.body = body_of(scope, limit=limits.max_body, spool=limits.spool, timeout_s=limits.idle_s)
        self.sending = Sending(send, self.body, limits.idle_s)
        self.answer = Answer(self.sending, scope["method"], scope["http_version"])
        self._work: asyncio.Task[None] | None = None
        self._stopped = False

    async def run(self, run: Run, receive: Receive, *, multiprocess: bool) -> None:
        """Answer the request by means of ``run``, which chooses where a function runs.

        :raises asyncio.CancelledError: when that is done, if this task was cancelled meanwhile.
        """
        stream = BytesIO() if self.body is None else Input(self.body)
        environ = environ_of(self.scope, stream, multiprocess=multiprocess)
        loop, current = asyncio.get_running_loop(), asyncio.current_task()
        assert current is not None
        work = self._work = loop.create_task(self._answer(run, environ))
        interrupt, cancelled = _Interrupt(current), False
        try:
            if self.body is None:
                await asyncio.sleep(0)  # when that is over, a view on the loop which waits for nothing has answered
            if not work.done():
                work.add_done_callback(interrupt)
                await (_until_gone(receive) if self.body is None else self.body.listen(receive))
        except asyncio.CancelledError:
            cancelled = not interrupt.taken_back()
        except Exception:
            logger.exception("The server failed while it received: %s", self._name())
        interrupt.off = True
        if not work.done():
            await self._end(work, cancelled)
        if self.body is not None:
            await self.body.close()
        if cancelled:
            raise asyncio.CancelledError

    async def _end(self, work: asyncio.Task[None], cancelled: bool) -> None:
        if cancelled or not self.sending.complete:
            self.stop()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.limits.grace_s + 1.0
        while not work.done() and (left := deadline - loop.time()) > 0:
            with suppress(asyncio.CancelledError):  # again, as by a server that loses patience
                await asyncio.wait([work], timeout=left)
        if not work.done():
            logger.error("%s did not end within %s s of its cancellation", self._name(), self.limits.grace_s)
            _abandoned.add(work)
            work.add_done_callback(_abandoned.discard)

    def stop(self) -> None:
        """Cancel the view, as if the client had gone."""
        if self._stopped:  # once: its clean-up may wait
            return
        self._stopped = True
        self.sending.cancel()
        if self._work is not None:
            self._work.cancel()

    async def _answer(self, run: Run, environ: dict[str, Any]) -> None:
        try:
            await run(partial(respond, self.app, environ, self.answer), self.scope)
            await self.sending.ended()
        except asyncio.CancelledError as error:
            if self._stopped:
                return
            await self._failed(error)
        except Overloaded as error:
            page = ServiceUnavailable(str(error))
            await self._failed(error, page, [("Retry-After", str(error.retry_after_s))])
        except ConnectionAbortedError as error:
            if not self.sending.gone:
                await self._failed(error)
        except Exception as error:
            await self._failed(error)

    async def _failed(self, error: BaseException, page: Any = None, headers: Any = ()) -> None:
        """Answer with an error page; where an answer has begun, leave it unended, which breaks the connection."""
        if ERRORS in self.scope:
            self.scope[ERRORS].append(error)
        elif page is None:
            logger.error("%s failed", self._name(), exc_info=error)
        if self.answer.begun or self.sending.gone:
            await self.sending.ended()
            return
        response = (page or InternalServerError()).get_response()
        response.headers.extend(headers)
        body = b"" if self.scope["method"] == "HEAD" else response.get_data()
        head = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()]
        with suppress(ConnectionAbortedError):
            start = {"type": "http.response.start", "status": response.status_code, "headers": head}
            await self.sending.give(start)
            await self.sending.give({"type": "http.response.body", "body": body, "more_body": False})

    def _name(self) -> str:
        return f"{self.scope['method']} {self.scope['path']}"


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] == "http.request":
        pass


class _Interrupt:
    """Ends what a task waits for, by a cancellation that is taken back."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task, self.off, self.sent = task, False, False

    def __call__(self, _: Any) -> None:
        if not self.off:
            self.sent = True
            self.task.cancel()

    def taken_back(self) -> bool:
        """Whether the cancellation was this one alone."""
        return self.sent and self.task.uncancel() == 0
