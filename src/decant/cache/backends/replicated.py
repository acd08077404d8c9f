"""Redis behind Sentinel, and Redis Cluster, through redis-py's own clients, with a deadline for each command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self
from weakref import WeakKeyDictionary

from ...errors import ConfigError, RedisUnavailable, missing_extra
from ..utils import Timeout

try:
    from redis.asyncio.cluster import ClusterNode, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisClusterException
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as error:
    raise missing_extra("decant.cache with Redis", "redis", error) from error

from ...redis import Breaker
from .redis import Prefix, RedisCommands

__all__ = ["RedisClusterCache", "RedisSentinelCache"]

_LOST: Final = (RedisConnectionError, RedisTimeoutError, RedisClusterException, OSError, TimeoutError)
_CLUSTER: Final = "Please give the correct cluster argument e.g. host1:port1,host2:port2,host3:port3"


class _PerLoop(RedisCommands):
    """Clients that belong to one loop each; commands have a deadline, and failures in a row open a breaker."""

    name: str

    def __init__(
        self,
        *,
        key_prefix: Prefix,
        default_timeout: Timeout,
        ignore_delete_many_errors: bool,
        deadline_s: float,
    ) -> None:
        super().__init__(
            key_prefix=key_prefix, default_timeout=default_timeout, ignore_delete_many_errors=ignore_delete_many_errors
        )
        self._deadline_s = deadline_s
        self._clients: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._breaker = Breaker(self.name)

    def _made(self) -> Any:
        raise NotImplementedError

    def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = self._made()
        return self._clients[loop]

    async def _run(self, command: Any) -> Any:
        try:
            self._breaker.check()
        except RedisUnavailable:
            getattr(command, "close", getattr(command, "cancel", lambda: None))()
            raise
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await command
        except _LOST as error:
            self._breaker.failed(error)
            text = f"{self.name} gave no answer within {self._deadline_s} s: {type(error).__name__}: {error}"
            raise RedisUnavailable(text) from error
        self._breaker.succeeded()
        return answer

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()


class RedisSentinelCache(_PerLoop):
    """A cache in the master that Sentinel names. Flask-Caching reads from a replica; this reads what it wrote.

    :param sentinels: addresses, ``[("host", 26379), …]``.
    :param master: the name of the master.
    :param deadline_s: for each command, finding the master included.
    """

    name = "Redis behind Sentinel"

    def __init__(
        self,
        sentinels: Sequence[tuple[str, int]] | None = None,
        master: str = "mymaster",
        password: str | None = None,
        db: int = 0,
        default_timeout: Timeout = 300,
        key_prefix: Prefix = None,
        ignore_delete_many_errors: bool = False,
        *,
        sentinel_password: str | None = None,
        deadline_s: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            key_prefix=key_prefix,
            default_timeout=default_timeout,
            ignore_delete_many_errors=ignore_delete_many_errors,
            deadline_s=deadline_s,
        )
        try:
            self._sentinels = [(str(host), int(port)) for host, port in sentinels or [("127.0.0.1", 26379)]]
        except (TypeError, ValueError):
            raise ConfigError("CACHE_REDIS_SENTINELS", sentinels, 'a list of ("host", port) is allowed') from None
        self._master = master
        self._sentinel_options = {"password": sentinel_password} if sentinel_password else {}
        self._options = {"password": password, "db": db, "retry": Retry(NoBackoff(), 0), "protocol": 2, **kwargs}

    @classmethod
    def factory(cls, app: Any, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Self:
        """``CACHE_REDIS_SENTINELS``, ``_SENTINEL_MASTER``, ``_SENTINEL_PASSWORD``, ``_PASSWORD``, ``_DB``."""
        given = {
            "sentinels": config.get("CACHE_REDIS_SENTINELS"),
            "master": config.get("CACHE_REDIS_SENTINEL_MASTER", "mymaster"),
            "password": config.get("CACHE_REDIS_PASSWORD"),
            "sentinel_password": config.get("CACHE_REDIS_SENTINEL_PASSWORD"),
            "key_prefix": config["CACHE_KEY_PREFIX"],
            "db": config.get("CACHE_REDIS_DB", 0),
        }
        return cls(*args, **{**given, **kwargs})

    def _made(self) -> Any:
        sentinel: Any = Sentinel(self._sentinels, sentinel_kwargs=self._sentinel_options, **self._options)  # type: ignore[no-untyped-call]
        return sentinel.master_for(self._master)

    async def aclose(self) -> None:
        """Close the connections of the running loop, to the master and to the Sentinels."""
        client = self._clients.get(asyncio.get_running_loop())
        await super().aclose()
        if client is not None:
            for sentinel in client.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()


class RedisClusterCache(_PerLoop):
    """A cache in a Redis Cluster. Keys that are read together may be in several slots: each is asked for by itself.

    :param cluster: addresses, ``"host:port,host:port"``.
    :param deadline_s: for each command.
    :raises ValueError: if an address is wrong.
    """

    name = "Redis Cluster"

    def __init__(
        self,
        cluster: str = "",
        password: str = "",
        default_timeout: Timeout = 300,
        key_prefix: Prefix = None,
        ignore_delete_many_errors: bool = False,
        *,
        redis_url: str | None = None,
        deadline_s: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            key_prefix=key_prefix,
            default_timeout=default_timeout,
            ignore_delete_many_errors=ignore_delete_many_errors,
            deadline_s=deadline_s,
        )
        if kwargs.pop("decode_responses", False):
            raise ValueError("decode_responses is not supported by RedisCache.")
        self._url, self._addresses = redis_url, [] if redis_url else list(_addresses(cluster))
        self._options = {"password": password or None, **kwargs}

    @classmethod
    def factory(cls, app: Any, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Self:
        """``CACHE_REDIS_CLUSTER`` or ``CACHE_REDIS_URL``, and ``CACHE_REDIS_PASSWORD``."""
        given = {
            "cluster": config.get("CACHE_REDIS_CLUSTER", ""),
            "password": config.get("CACHE_REDIS_PASSWORD", ""),
            "key_prefix": config["CACHE_KEY_PREFIX"],
            "redis_url": config.get("CACHE_REDIS_URL"),
        }
        return cls(*args, **{**given, **kwargs})

    def _made(self) -> Any:
        if self._url:
            return RedisCluster.from_url(self._url, **self._options)
        return RedisCluster(startup_nodes=[ClusterNode(*address) for address in self._addresses], **self._options)

    async def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        redis = self._client()
        values: list[bytes | None] = await self._run(asyncio.gather(*map(redis.get, self._named(keys))))
        return values

    async def _delete(self, keys: Sequence[str]) -> list[str]:
        redis = self._client()
        counts = await self._run(asyncio.gather(*map(redis.delete, self._named(keys))))
        return [key for key, count in zip(keys, counts, strict=True) if count]

    async def unlink(self, *keys: str) -> list[str]:
        """``UNLINK`` of each."""
        redis = self._client()
        await self._run(asyncio.gather(*map(redis.unlink, self._named(keys))))
        return list(keys)

    async def _touch(self, keys: Sequence[str], timeout_s: float | None) -> None:
        for key in keys:
            await super()._touch([key], timeout_s)

    async def _clear(self) -> bool:
        """The keys with the prefix, on every primary."""
        (prefix,) = self._named([""])
        redis, removed = self._client(), 0
        await self._run(redis.initialize())
        if not prefix:
            return bool(await self._run(redis.flushdb(target_nodes=RedisCluster.PRIMARIES)))
        async for key in redis.scan_iter(match=_pattern(prefix), count=1000, target_nodes=RedisCluster.PRIMARIES):
            removed += await self._run(redis.unlink(key))
        return bool(removed)


def _pattern(prefix: str) -> str:
    return "".join(f"\\{sign}" if sign in "*?[]^\\" else sign for sign in prefix) + "*"


def _addresses(cluster: str) -> Iterable[tuple[str, int]]:
    for node in cluster.split(","):
        host, _, port = node.strip().rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError("CACHE_REDIS_CLUSTER", cluster, _CLUSTER)
        yield host, int(port)
