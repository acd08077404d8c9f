"""A cache in Memcached, by way of aiomcache."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from weakref import WeakKeyDictionary

from ...errors import ConfigError, Unavailable, missing_extra
from ..utils import Timeout
from .base import BaseCache

try:
    from aiomcache import Client
    from aiomcache.exceptions import ClientException
except ImportError as error:
    raise missing_extra("decant.cache with Memcached", "memcached", error) from error

__all__ = ["MemcachedCache"]

_ALLOWED: Final = 'a list of servers is allowed: ["host:port", ("host", port)]'
_SAFE: Final = re.compile(rb"[\x21-\x7e]{1,200}")
_RELATIVE_S: Final = 30 * 24 * 3600  # beyond it Memcached takes a number for a date


def _address(server: Any) -> tuple[str, int]:
    parts = server.rsplit(":", 1) if isinstance(server, str) else list(server)
    try:
        host, port = parts if len(parts) == 2 else (parts[0], 11211)
        return str(host), int(port)
    except (ValueError, IndexError, TypeError):
        raise ConfigError("CACHE_MEMCACHED_SERVERS", server, _ALLOWED) from None


class _Server:
    """The connections of one loop to one server: as many clients of one connection each.

    A client whose command was cut off is thrown away: the late answer would be another command's.
    """

    def __init__(self, address: tuple[str, int], size: int, deadline_s: float) -> None:
        self.name, self._address = "{}:{}".format(*address), address
        self._idle: list[Client] = []
        self._slots, self._deadline_s = asyncio.Semaphore(size), deadline_s
        self._refused_until = 0.0

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """:raises Unavailable: if the server does not answer within the deadline, or did not a second ago."""
        if time.monotonic() < self._refused_until:
            raise Unavailable(f"Memcached at {self.name} did not answer; not asked again for a second")
        try:
            async with asyncio.timeout(self._deadline_s), self._slots:
                client = self._idle.pop() if self._idle else Client(*self._address, pool_size=1)
                is_whole = False
                try:
                    yield client
                    is_whole = True
                finally:
                    await self._put_back(client, is_whole)
        except (OSError, TimeoutError, EOFError) as error:
            self._refused_until = time.monotonic() + 1
            text = (
                f"Memcached at {self.name} gave no answer within {self._deadline_s} s: {type(error).__name__} {error}"
            )
            raise Unavailable(text) from error

    async def _put_back(self, client: Client, is_whole: bool) -> None:
        if is_whole:
            self._idle.append(client)
        else:
            await client.close()

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().close()


class MemcachedCache(BaseCache):
    """A cache in one or several Memcached servers; a key's server is found by rendezvous hashing.

    What Memcached has not: timeouts below a second (they are rounded up), numbers below 0 (``dec`` ends at 0), a key
    prefix for ``clear``, which flushes the servers.

    :param servers: ``["host:port", …]``.
    :param deadline_s: for each command, waiting for a connection included.
    :param pool_size: connections per server and loop.
    """

    def __init__(
        self,
        servers: Sequence[Any] | None = None,
        default_timeout: Timeout = 300,
        key_prefix: str | None = None,
        ignore_delete_many_errors: bool = False,
        *,
        deadline_s: float = 0.25,
        pool_size: int = 10,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        if isinstance(servers, str) or not isinstance(servers or [], list | tuple | set):
            raise ConfigError("CACHE_MEMCACHED_SERVERS", servers, _ALLOWED)
        self.key_prefix = key_prefix or ""
        self._addresses = sorted(map(_address, servers or ["127.0.0.1:11211"]))
        self._deadline_s, self._pool_size = deadline_s, pool_size
        self._loops: WeakKeyDictionary[Any, list[_Server]] = WeakKeyDictionary()

    @classmethod
    def factory(cls, app: Any, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Self:
        """``CACHE_MEMCACHED_SERVERS``; user name and password are not offered."""
        for key in ("CACHE_MEMCACHED_USERNAME", "CACHE_MEMCACHED_PASSWORD"):
            if config.get(key) is not None:
                raise ConfigError(key, "***", "decant.cache does not log in to Memcached: leave it out")
        given = {"key_prefix": config["CACHE_KEY_PREFIX"], **kwargs}
        return cls(*(args or [config["CACHE_MEMCACHED_SERVERS"]]), **given)

    def _servers(self) -> list[_Server]:
        loop = asyncio.get_running_loop()
        servers = self._loops.get(loop)
        if servers is None:
            servers = [_Server(address, self._pool_size, self._deadline_s) for address in self._addresses]
            self._loops[loop] = servers
        return servers

    def _name(self, key: str) -> bytes:
        name = f"{self.key_prefix}{key}".encode()
        if _SAFE.fullmatch(name):
            return name
        return name[:0] + b"decant:" + hashlib.sha256(name).hexdigest().encode()

    def _server(self, name: bytes) -> _Server:
        servers = self._servers()
        if len(servers) == 1:
            return servers[0]
        return max(servers, key=lambda server: hashlib.blake2b(name + server.name.encode(), digest_size=8).digest())

    def _expiry(self, timeout_s: float | None) -> int:
        if timeout_s is None:
            return 0
        seconds = max(1, math.ceil(timeout_s))
        return seconds if seconds <= _RELATIVE_S else int(time.time()) + seconds

    async def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        names = [self._name(key) for key in keys]
        by_server: dict[_Server, list[bytes]] = {}
        for name in dict.fromkeys(names):
            by_server.setdefault(self._server(name), []).append(name)
        found: dict[bytes, Any] = {}
        for server, some in by_server.items():
            async with server.client() as client:
                found |= dict(zip(some, await client.multi_get(*some), strict=True))
        return [found[name] for name in names]

    async def _set(self, values: Mapping[str, bytes], timeout_s: float | None) -> None:
        for key, value in values.items():
            name = self._name(key)
            async with self._server(name).client() as client:
                await client.set(name, value, exptime=self._expiry(timeout_s))

    async def _add(self, key: str, value: bytes, timeout_s: float | None) -> bool:
        name = self._name(key)
        async with self._server(name).client() as client:
            return bool(await client.add(name, value, exptime=self._expiry(timeout_s)))

    async def _delete(self, keys: Sequence[str]) -> list[str]:
        deleted = []
        for key in keys:
            name = self._name(key)
            async with self._server(name).client() as client:
                if await client.delete(name):
                    deleted.append(key)
        return deleted

    async def _incr(self, key: str, delta: int, timeout_s: float | None) -> int:
        name = self._name(key)
        async with self._server(name).client() as client:
            if await client.add(name, b"%d" % max(0, delta), exptime=self._expiry(timeout_s)):
                return max(0, delta)
            try:
                change = client.incr if delta >= 0 else client.decr
                return int(await change(name, abs(delta)) or 0)
            except ClientException as error:
                raise ValueError(f"the value of {key!r} is not a number from 0: {error}") from error

    async def _touch(self, keys: Sequence[str], timeout_s: float | None) -> None:
        for key in keys:
            name = self._name(key)
            async with self._server(name).client() as client:
                await client.touch(name, self._expiry(timeout_s))

    async def _delete_if(self, key: str, value: bytes) -> bool:
        """Memcached cannot compare and delete: it is replaced by what has expired, if nobody was faster."""
        name = self._name(key)
        async with self._server(name).client() as client:
            found, token = await client.gets(name)
            if found != value or token is None:
                return False
            if not await client.cas(name, b"", token, exptime=1):
                return False
            return bool(await client.delete(name))

    async def _clear(self) -> bool:
        for server in self._servers():
            async with server.client() as client:
                await client.flush_all()
        return True

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        for server in self._loops.pop(asyncio.get_running_loop(), []):
            await server.aclose()
