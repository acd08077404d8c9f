"""The client that users hold: redis-py's commands on the running loop's :class:`~decant.redis.lane.Lane`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as RedisPy
from redis.asyncio.client import Monitor
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.exceptions import ResponseError

from .around import Pipeline, PubSub, blocks_s, run_alone
from .lane import Lane
from .options import Options, make_pool, masked
from .script import Script

__all__ = ["Redis"]

_open: Final[set[Lane]] = set()  # until their loops close them, whatever becomes of the clients
_lock: Final = threading.Lock()


class Redis(RedisPy):
    """``redis.asyncio.Redis`` whose commands are pipelined by themselves, bounded in time, and never repeated.

    Commands that are issued in the same tick of the loop share a round trip, at most 100; an error of one is that
    one's alone. It may be made anywhere and used on any loop: each loop has its own connections, which are closed
    by :meth:`aclose` on that loop, or when the loop ends (``asyncio.run``, ``asyncio.Runner``).

    Every command raises :exc:`~decant.errors.RedisUnavailable` when the circuit breaker is open or the server does
    not answer within its deadline, :exc:`~decant.errors.RedisOutcomeUnknown` (one of these) when it may have run
    all the same, :exc:`~decant.errors.Overloaded` when too many commands wait, and redis-py's ``ResponseError``
    for what the server refuses.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, Lane] = WeakKeyDictionary()
        self._template = make_pool(options, 1)  # for redis-py's questions about encodings; it never connects
        kwargs = self._template.connection_kwargs
        self._encoding = kwargs.get("encoding", "utf-8"), kwargs.get("encoding_errors", "strict")
        super().__init__(connection_pool=self._template)

    def __repr__(self) -> str:
        return f"<decant.redis.Redis {masked(self.options.url)}>"

    @property  # type: ignore[override]
    def connection_pool(self) -> BlockingConnectionPool:
        """The running loop's connections that one caller holds at a time; outside a loop one that is not connected."""
        try:
            return self.lane().dedicated
        except RuntimeError:
            return self._template

    @connection_pool.setter
    def connection_pool(self, pool: BlockingConnectionPool) -> None:
        """redis-py sets it; ours are made per loop."""

    @property
    def degraded(self) -> bool:
        """Whether the circuit breaker refuses commands: of the running loop, or outside of one, of any."""
        try:
            lanes = [self._lanes.get(asyncio.get_running_loop())]
        except RuntimeError:
            lanes = list(self._lanes.values())
        return any(lane is not None and lane.breaker.state != "closed" for lane in lanes)

    @property
    def available(self) -> bool:
        """Not :attr:`degraded`, as far as is known: it says nothing before the first command."""
        return not self.degraded

    @property
    def pending(self) -> int:
        """How many commands of the running loop have no answer yet."""
        return self.lane().pending

    def lane(self) -> Lane:
        """The running loop's half of this client.

        :raises RuntimeError: outside a loop.
        """
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        return self._opened(loop) if lane is None else lane

    def _opened(self, loop: asyncio.AbstractEventLoop) -> Lane:
        lane = Lane(self.options, loop)
        with _lock:
            _open.difference_update([old for old in _open if old.loop.is_closed()])
            _open.add(lane)
            self._lanes[loop] = lane
        lane.at_loop_end = self._until_loop_ends(lane)
        with suppress(StopIteration):
            lane.at_loop_end.asend(None).send(None)  # to its yield; it does not await before
        return lane

    async def _until_loop_ends(self, lane: Lane) -> AsyncGenerator[None]:
        """A loop closes the asynchronous generators that it has begun before it ends: the one public hook there."""
        try:
            yield
        finally:
            await self._close(lane)

    async def _close(self, lane: Lane) -> None:
        with _lock:
            if lane not in _open:
                return
            _open.discard(lane)
            if self._lanes.get(lane.loop) is lane:
                del self._lanes[lane.loop]
        await lane.aclose()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Issue a command, as redis-py's methods do, and wait for its answer."""
        block_s = blocks_s(args)
        lane = self.lane()
        try:
            answer = await (lane.submit(args) if block_s is None else run_alone(lane, args, block_s))
        except ResponseError:
            if EMPTY_RESPONSE in options:
                return options[EMPTY_RESPONSE]
            raise
        options.pop(EMPTY_RESPONSE, None)
        options.pop("keys", None)
        raw = options.pop(NEVER_DECODE, None) is not None  # redis-py's mark is an empty list
        if self.options.decode_responses and not raw:
            answer = self._decoded(answer)
        callback = self.response_callbacks.get(args[0])
        if callback is None:
            return answer
        result = callback(answer, **options)
        return await result if asyncio.iscoroutine(result) else result

    def _decoded(self, answer: Any) -> Any:
        # Here and not in the parser: one value that is not UTF-8 must not break a batch.
        if isinstance(answer, bytes):
            return answer.decode(*self._encoding)
        if isinstance(answer, list):
            return [self._decoded(item) for item in answer]
        if isinstance(answer, dict):
            return {self._decoded(key): self._decoded(value) for key, value in answer.items()}
        return {self._decoded(item) for item in answer} if isinstance(answer, set) else answer

    def script(self, source: str | bytes) -> Script:
        """A Lua script to be run by its SHA: ``await r.script(source)(keys=[...], args=[...])``."""
        return Script(self, source)

    def register_script(self, script: Any) -> Script:  # type: ignore[override]
        """redis-py's name of :meth:`script`."""
        return Script(self, script)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """An explicit pipeline on a connection of its own: ``MULTI``/``EXEC``, and ``WATCH``."""
        return Pipeline(self, transaction, shard_hint)

    def pubsub(self, **options: Any) -> PubSub:
        """Subscriptions, on a connection of their own; close it with ``aclose`` or ``async with``."""
        return PubSub(self, **options)

    def monitor(self) -> Monitor:
        return Monitor(self.connection_pool)

    def client(self) -> RedisPy:
        """Not offered: a client of one connection has neither deadlines nor a breaker.

        :raises NotImplementedError: always.
        """
        raise NotImplementedError("use pipeline(transaction=True), or redis.asyncio.Redis itself")

    @classmethod
    def from_url(cls, url: str, *args: Any, **kwargs: Any) -> RedisPy:
        """Not offered, nor is ``from_pool``: :func:`~decant.redis.client` makes clients.

        :raises NotImplementedError: always.
        """
        raise NotImplementedError("use decant.redis.client(app), or client(url=…) without an application")

    @classmethod
    def from_pool(cls, connection_pool: Any) -> RedisPy:
        return cls.from_url("")

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Fail what is pending and close the connections of the running loop; the next command opens new ones."""
        lane = self._lanes.get(asyncio.get_running_loop())
        if lane is not None:
            await self._close(lane)
            with suppress(RuntimeError):  # the loop itself is closing it
                await lane.at_loop_end.aclose()
