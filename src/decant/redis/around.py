"""What cannot share a connection: blocking commands, transactions and subscriptions. Each has a timeout of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.client import Pipeline as RedisPipeline
from redis.asyncio.client import PubSub as RedisPubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.exceptions import WatchError

from ..errors import RedisOutcomeUnknown, RedisUnavailable
from .lane import Lane

if TYPE_CHECKING:
    from .core import Redis

__all__ = ["Pipeline", "PubSub", "blocks_s", "run_alone"]

_LOST: Final = (RedisConnectionError, RedisTimeoutError, OSError)


def _seconds(value: Any) -> float:
    """A blocking command's timeout; 0 means for ever. What is no number is for Redis to refuse."""
    try:
        return float(value) or math.inf
    except (TypeError, ValueError):
        return 0.0


def _milliseconds(value: Any) -> float:
    return _seconds(value) / 1000


def _of_streams(args: Sequence[Any]) -> float | None:
    for index, arg in enumerate(args[:-1]):
        word = arg.decode() if isinstance(arg, bytes) else arg
        if not isinstance(word, str):
            continue
        if word.upper() == "STREAMS":
            return None
        if word.upper() == "BLOCK":
            return _milliseconds(args[index + 1])
    return None


_last: Final = lambda args: _seconds(args[-1])  # noqa: E731
_first: Final = lambda args: _seconds(args[1])  # noqa: E731
_BLOCKING: Final[dict[str, Callable[[Sequence[Any]], float | None]]] = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX"), _last),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), _first),
    **dict.fromkeys(("XREAD", "XREADGROUP"), _of_streams),
    "WAIT": lambda args: _milliseconds(args[2]),
    "WAITAOF": lambda args: _milliseconds(args[3]),
}
_SHARED: Final = "it would change a connection that others share: {}"
_TRANSACTION: Final = _SHARED.format("use pipeline(transaction=True)")
_SUBSCRIBE: Final = _SHARED.format("use pubsub()")
_NEVER: Final = {
    **dict.fromkeys(("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"), _TRANSACTION),
    **dict.fromkeys(("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"), _SUBSCRIBE),
    **dict.fromkeys(("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"), _SUBSCRIBE),
    "MONITOR": _SHARED.format("use monitor()"),
    **dict.fromkeys(("SELECT", "AUTH", "HELLO", "RESET", "QUIT"), _SHARED.format("say it in the URL")),
    **dict.fromkeys(("CLIENT REPLY", "CLIENT TRACKING", "CLIENT CACHING"), _SHARED.format("use redis-py's own client")),
}


def blocks_s(args: Sequence[Any]) -> float | None:
    """How long the command may block, in seconds (``inf``: for ever); ``None`` if it does not.

    :raises ValueError: for a command that would change the state of a connection.
    """
    name = args[0].decode() if isinstance(args[0], bytes) else args[0]
    name = name.upper()
    if name == "CLIENT" and len(args) > 1:
        name = f"CLIENT {args[1]}".upper()
    if name in _NEVER:
        raise ValueError(f"{name} cannot be sent like this: {_NEVER[name]}")
    rule = _BLOCKING.get(name)
    try:
        return rule(args) if rule else None
    except IndexError:  # too few arguments: Redis says so at once
        return None


@asynccontextmanager
async def _guarded(lane: Lane, timeout_s: float, *, sends: bool = True) -> AsyncIterator[None]:
    """Give the round trips within a deadline, and their failures to the breaker.

    :param sends: whether a command may have run when they fail.
    """
    lane.check()
    error_type = RedisOutcomeUnknown if sends else RedisUnavailable
    limit = None if math.isinf(timeout_s) else timeout_s
    try:
        async with asyncio.timeout(limit):
            yield
    except TimeoutError as error:
        lane.failed("deadline", "no answer in time")
        raise error_type(f"{lane.name} gave no answer within {timeout_s:g} s") from error
    except _LOST as error:
        if lane.dedicated.can_get_connection():
            lane.failed("connection", error)
            raise error_type(f"{lane.name}: {type(error).__name__}: {error}") from error
        raise RedisUnavailable(
            f"all {lane.options.dedicated_size} connections for blocking commands, transactions and subscriptions"
            f" to {lane.name} are in use (REDIS_DEDICATED_SIZE)"
        ) from error
    lane.breaker.succeeded()


async def run_alone(lane: Lane, args: Sequence[Any], block_s: float) -> Any:
    """Run a command that blocks, on a connection of its own; the raw answer."""
    async with _guarded(lane, lane.deadline_s, sends=False):
        connection = await lane.dedicated.get_connection()
    try:
        async with _guarded(lane, block_s + lane.deadline_s):
            await connection.send_command(*args)
            return await connection.read_response(disable_decoding=True)
    finally:
        await asyncio.shield(lane.dedicated.release(connection))


class _OnLane:
    """Finds the connections of the running loop when they are used, not when the object is made."""

    _owner: Redis
    _pool: BlockingConnectionPool
    _resetting = False
    connection: Any = None

    @property
    def connection_pool(self) -> BlockingConnectionPool:
        # One in use goes back to where it came from, even if the client was closed meanwhile, and also where redis-py
        # (8) forgets the connection before it gives it back.
        if self.connection is None and not self._resetting:
            self._pool = self._owner.connection_pool
        return self._pool

    @connection_pool.setter
    def connection_pool(self, pool: BlockingConnectionPool) -> None:
        """redis-py sets it; the owner's is used."""


class Pipeline(_OnLane, RedisPipeline):  # type: ignore[misc]
    """redis-py's pipeline, ``MULTI``/``EXEC`` and ``WATCH`` included, on a connection of its own.

    Each of its round trips has the client's deadline. Where redis-py raises ``WatchError`` for a connection that
    broke, which says "do it again", this raises :exc:`~decant.errors.RedisOutcomeUnknown`: ``EXEC`` may have run.
    """

    def __init__(self, owner: Redis, transaction: bool, shard_hint: str | None) -> None:
        self._owner = owner
        super().__init__(owner.connection_pool, owner.response_callbacks, transaction, shard_hint)

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        lane = self._owner.lane()
        try:
            async with _guarded(lane, lane.deadline_s):
                return await super().execute(raise_on_error)
        except WatchError as error:
            if isinstance(error.__context__, _LOST):
                raise RedisOutcomeUnknown(f"{lane.name}: {error.__context__}") from error
            raise

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        lane = self._owner.lane()
        async with _guarded(lane, lane.deadline_s):
            return await super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def reset(self) -> None:
        if self.watching and self.connection is not None and not self.connection.is_connected:
            self.watching = False  # a connection that is gone watches nothing: do not reconnect to say UNWATCH
        resetting = asyncio.ensure_future(self._reset())
        try:
            await asyncio.shield(resetting)
        except asyncio.CancelledError:  # or the pool would never have the connection back
            await asyncio.wait([resetting], timeout=self._owner.options.deadline_s)
            raise

    async def _reset(self) -> None:
        self._resetting = True
        try:
            await super().reset()  # type: ignore[no-untyped-call]
        finally:
            self._resetting = False


class PubSub(_OnLane, RedisPubSub):  # type: ignore[misc]
    """redis-py's subscriptions, on a connection of its own. Connecting and subscribing have the client's deadline;
    listening has the timeout that ``get_message`` is given. A lost connection raises
    :exc:`~decant.errors.RedisUnavailable`; listening again connects and subscribes again.
    """

    def __init__(self, owner: Redis, **options: Any) -> None:
        self._owner = owner
        super().__init__(owner.connection_pool, **options)

    async def execute_command(self, *args: Any) -> None:
        lane = self._owner.lane()
        async with _guarded(lane, lane.deadline_s, sends=False):
            await super().execute_command(*args)

    async def parse_response(self, block: bool = True, timeout: float = 0) -> Any:
        lane = self._owner.lane()
        if self.connection is not None and not self.connection.is_connected:
            async with _guarded(lane, lane.deadline_s, sends=False):
                await self.connection.connect()
        try:
            return await super().parse_response(block, timeout)
        except _LOST as error:
            if self.connection is not None:
                await self.connection.disconnect(nowait=True)
            lane.failed("connection", error)
            raise RedisUnavailable(f"{lane.name}: {error}") from error
