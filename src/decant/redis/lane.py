"""One event loop's half of a client: the commands of one tick travel as one pipeline, each with its deadline."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, ResponseError

from ..errors import Overloaded, RedisOutcomeUnknown, RedisUnavailable
from ..ops.registry import counter, gauge
from .breaker import Breaker, State
from .options import Options, make_pool, masked

__all__ = ["MAX_BATCH", "Lane"]

MAX_BATCH: Final = 100
_TRUSTED_S: Final = 1.0  # how long an idle connection is taken without a look whether the server has closed it
_ANSWERED: Final = counter("decant_redis_commands", "Commands that Redis answered, errors of commands included")
_BATCHES: Final = counter("decant_redis_batches", "Round trips that carried them")
_FAILED: Final = counter("decant_redis_failures", "Round trips that failed", ("reason",))
_REFUSED: Final = counter("decant_redis_refused", "Commands refused without asking Redis", ("reason",))
_OPEN: Final = gauge("decant_redis_breakers_open", "Circuit breakers that are not closed")
logger = logging.getLogger("decant.redis")

Waiting = tuple[Sequence[Any], "asyncio.Future[Any]"]


def _at_eof(connection: AbstractConnection) -> bool:
    """Whether the server has closed an idle connection, as far as the loop has seen.

    redis-py tells this only by reading from it, which costs as much as a command. Without its attribute we find out by
    sending, and cannot tell whether that was run.
    """
    reader = getattr(connection, "_reader", None)
    return isinstance(reader, asyncio.StreamReader) and reader.at_eof()


class _Group:
    """At most :data:`MAX_BATCH` commands of one tick, with one deadline."""

    __slots__ = ("batch", "commands", "ended", "timer")

    def __init__(self, commands: list[Waiting]) -> None:
        self.commands = commands
        self.timer: asyncio.TimerHandle | None = None
        self.batch: _Batch | None = None
        self.ended = False


class _Batch:
    """The groups that share a round trip. It is stopped when the last of them is over its deadline."""

    __slots__ = ("groups", "open", "sent", "started", "task")

    def __init__(self, groups: list[_Group], started: float) -> None:
        self.groups, self.started = groups, started
        self.open = len(groups)
        self.sent = False
        self.task: asyncio.Task[None] | None = None
        for group in groups:
            group.batch = self

    def wanted(self) -> Iterator[Waiting]:
        """The commands whose callers still wait."""
        for group in self.groups:
            for command in group.commands:
                if not command[1].done():
                    yield command


class Lane:
    """Pools, breaker and pending commands of one loop; made by :class:`~decant.redis.Redis`, used on that loop."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.options, self.loop, self.deadline_s = options, loop, options.deadline_s
        self.name = f"Redis at {masked(options.url)}"
        self.pool = make_pool(options, options.pool_size)
        self.dedicated = make_pool(options, options.dedicated_size)
        self.breaker = Breaker(
            self.name,
            failures=options.breaker_failures,
            reset_s=options.breaker_reset_s,
            probe_s=2 * options.deadline_s,
            changed=self._breaker_changed,
        )
        self.pending = 0
        self._fresh: list[Waiting] = []
        self._queue: deque[_Group] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[tuple[AbstractConnection, float]] = []
        self._context = Context()  # not that of the request which happens to be the first of a tick
        self._counted_open = False
        self._answered_at = 0.0
        self._closed = False
        self.at_loop_end: AsyncGenerator[None]

    def submit(self, args: Sequence[Any]) -> asyncio.Future[Any]:
        """Issue a command; the future is its raw answer, bytes undecoded.

        :raises RedisUnavailable: at once, while the breaker is open.
        :raises Overloaded: if ``max_pending`` commands wait already.
        """
        self.check()
        if self.pending >= self.options.max_pending:
            _REFUSED.inc(reason="overloaded")
            raise Overloaded(f"{self.pending} commands already wait for {self.name} (REDIS_MAX_PENDING)")
        if not self._fresh:
            self.loop.call_soon(self._flush, context=self._context)
        future = self.loop.create_future()
        self._fresh.append((args, future))
        self.pending += 1
        return future

    def check(self) -> None:
        """Ask the breaker whether a command may pass.

        :raises RedisUnavailable: if not.
        """
        try:
            self.breaker.check()
        except RedisUnavailable:
            _REFUSED.inc(reason="breaker")
            raise

    def failed(self, reason: str, error: object) -> None:
        """Tell breaker and counters of a round trip that failed."""
        _FAILED.inc(reason=reason)
        self.breaker.failed(error)

    def _breaker_changed(self, state: State) -> None:
        if (state != "closed") != self._counted_open:
            self._counted_open = not self._counted_open
            _OPEN.inc(1 if self._counted_open else -1)

    def _flush(self) -> None:
        if self._closed:
            return
        fresh, self._fresh = self._fresh, []
        deadline = self.loop.time() + self.deadline_s
        for start in range(0, len(fresh), MAX_BATCH):
            group = _Group(fresh[start : start + MAX_BATCH])
            group.timer = self.loop.call_at(deadline, self._expire, group, deadline, context=self._context)
            self._queue.append(group)
        self._start()

    def _start(self) -> None:
        while self._queue and len(self._tasks) < self.options.pool_size:
            groups = [self._queue.popleft()]
            size = len(groups[0].commands)
            while self._queue and size + len(self._queue[0].commands) <= MAX_BATCH:
                groups.append(self._queue.popleft())
                size += len(groups[-1].commands)
            batch = _Batch(groups, self.loop.time())
            batch.task = self.loop.create_task(self._run(batch), context=self._context)
            self._tasks.add(batch.task)
            batch.task.add_done_callback(partial(self._ended, batch), context=self._context)

    def _ended(self, batch: _Batch, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._finish(batch)  # it was cancelled before its first step
        if not task.cancelled() and (error := task.exception()) is not None:
            self.loop.call_exception_handler({"message": "decant.redis: a batch failed", "exception": error})
        self._start()

    async def _run(self, batch: _Batch) -> None:
        connection = None
        try:
            connection = await self._lease()
            loading = await self._exchange(connection, batch)
        except Exception as error:
            self.failed("connection" if batch.sent else "connect", error)
            self._fail(batch, f"{self.name}: {type(error).__name__}: {error}", error)
        else:
            if loading:
                self.failed("loading", "it is loading its data")
            elif batch.sent:  # else it was not asked
                self._answered_at = self.loop.time()
                self.breaker.succeeded()
        finally:
            self._finish(batch)
            if connection is not None:
                await self._give_back(connection)

    async def _exchange(self, connection: AbstractConnection, batch: _Batch) -> bool:
        """Send the batch and hand out the answers; whether the server says that it is loading its data."""
        packed: list[bytes] = []
        sent: list[asyncio.Future[Any]] = []
        for args, future in batch.wanted():
            try:
                packed += connection.pack_command(*args)
            except Exception as error:  # an argument that cannot be encoded concerns its own command only
                future.set_exception(error)
            else:
                sent.append(future)
        if not sent:
            return False
        batch.sent = True
        await connection.send_packed_command(packed)
        loading = await self._read(connection, sent)
        _BATCHES.inc()
        _ANSWERED.inc(len(sent))
        return loading

    async def _read(self, connection: AbstractConnection, sent: list[asyncio.Future[Any]]) -> bool:
        loading = False
        try:
            for future in sent:
                answer: Any = None
                failure: Exception | None = None
                try:
                    answer = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
                except BusyLoadingError as error:
                    loading, failure = True, RedisUnavailable(f"{self.name}: {error}")
                except ResponseError as error:
                    failure = error
                if future.done():  # its caller was cancelled, or is over its deadline
                    continue
                if failure is None:
                    future.set_result(answer)
                else:
                    future.set_exception(failure)
        except BaseException:  # what comes next on this connection would answer the wrong command
            await connection.disconnect(nowait=True)
            raise
        return loading

    def _expire(self, group: _Group, due: float | None) -> None:
        if group.ended:
            return
        if due is not None:  # what the loop itself held up may have been answered: let it read first
            held_s = min(self.loop.time() - due, self.deadline_s)
            group.timer = self.loop.call_later(held_s, self._expire, group, None, context=self._context)
            return
        batch = group.batch
        reason = f"{self.name} gave no answer within {self.deadline_s:g} s"
        if batch is None:
            self._queue.remove(group)
            _FAILED.inc(reason="no connection")
            self._fail_group(group, f"{reason}: all {self.options.pool_size} connections are busy", None, sent=False)
        else:
            if self._answered_at < batch.started:  # else it is this command that is slow, or this process
                self.failed("deadline", reason)
            self._fail_group(group, reason, None, sent=batch.sent)
        self._settle(group)
        if batch is not None and batch.open == 0 and batch.task is not None:
            batch.task.cancel()

    def _finish(self, batch: _Batch) -> None:
        self._fail(batch, f"{self.name}: the client was closed")
        for group in batch.groups:
            self._settle(group)

    def _fail(self, batch: _Batch, text: str, cause: Exception | None = None) -> None:
        for group in batch.groups:
            self._fail_group(group, text, cause, sent=batch.sent)

    def _fail_group(self, group: _Group, text: str, cause: Exception | None, *, sent: bool) -> None:
        kind = RedisOutcomeUnknown if sent else RedisUnavailable
        for _, future in group.commands:
            if not future.done():
                failure = kind(text + (" (the command may have run)" if sent else ""))
                failure.__cause__ = cause
                future.set_exception(failure)

    def _settle(self, group: _Group) -> None:
        if group.ended:
            return
        group.ended = True
        self.pending -= len(group.commands)
        if group.timer is not None:
            group.timer.cancel()
        if group.batch is not None:
            group.batch.open -= 1

    async def _lease(self) -> AbstractConnection:
        """A connected connection; one that was idle for longer is checked by the pool, which reconnects it."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.is_connected and not _at_eof(connection) and self.loop.time() - since < _TRUSTED_S:
                return connection
            await self._release(connection)
        taken: AbstractConnection = await self.pool.get_connection()
        return taken

    async def _give_back(self, connection: AbstractConnection) -> None:
        if connection.is_connected:
            self._idle.append((connection, self.loop.time()))
            return
        idle, self._idle = self._idle, []  # the server may have closed these as well: let the pool look
        for closed in (connection, *(other for other, _ in idle)):
            await self._release(closed)

    async def _release(self, connection: AbstractConnection) -> None:
        await asyncio.shield(self.pool.release(connection))  # half done, it would cost the pool a connection

    async def aclose(self) -> None:
        """Fail what is pending and close all connections, also those that callers hold."""
        self._closed = True
        for group in [*self._queue, _Group(self._fresh)]:
            self._fail_group(group, f"{self.name}: the client was closed", None, sent=False)
            self._settle(group)
        self._queue.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pool in (self.pool, self.dedicated):
            try:
                await pool.disconnect(inuse_connections=True)
            except Exception as error:
                logger.debug("%s: closing a connection failed: %s", self.name, error)
        if self.breaker.state != "closed":
            self._breaker_changed("closed")
