"""A cache in Redis, by way of :mod:`decant.redis`: pipelined, bounded in time, with a circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

from ...errors import ConfigError, missing_extra
from ..utils import Timeout
from .base import BaseCache

try:
    from ...redis import Options, Redis, client
except ImportError as error:
    raise missing_extra("decant.cache with Redis", "redis", error) from error

__all__ = ["RedisCache", "RedisCommands"]

_OPTIONS: Final = {field.name for field in fields(Options)} - {"url", "decode_responses"}
_TOUCH: Final = """
local wanted = tonumber(ARGV[1])
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if wanted < 0 then
    if left >= 0 then redis.call('PERSIST', key) end
  elseif left >= 0 and left < wanted then
    redis.call('PEXPIRE', key, wanted)
  end
end
return 1
"""
_DELETE_IF: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_INCR: Final = """
local is_new = redis.call('EXISTS', KEYS[1]) == 0
local number = redis.call('INCRBY', KEYS[1], ARGV[1])
if is_new and tonumber(ARGV[2]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return number
"""
Prefix = str | Callable[[], str] | None


def _milliseconds(timeout_s: float | None) -> int | None:
    return None if timeout_s is None else max(1, round(timeout_s * 1000))


class RedisCommands(BaseCache):
    """The commands, on any client of redis-py's asynchronous interface.

    :param key_prefix: before each key; a callable is asked each time.
    """

    def __init__(
        self, *, key_prefix: Prefix = None, default_timeout: Timeout = 300, ignore_delete_many_errors: bool = False
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        self.key_prefix = key_prefix or ""

    def _client(self) -> Any:
        """The client for writing, on the running loop."""
        raise NotImplementedError

    async def _run(self, command: Any) -> Any:
        return await command

    async def _eval(self, source: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return await self._run(self._client().eval(source, len(keys), *keys, *args))

    def _named(self, keys: Iterable[str]) -> list[str]:
        prefix = self.key_prefix if isinstance(self.key_prefix, str) else self.key_prefix()
        return [prefix + key for key in keys] if prefix else list(keys)

    async def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        named = self._named(keys)
        if len(named) == 1:
            return [await self._run(self._client().get(named[0]))]
        values: list[bytes | None] = await self._run(self._client().mget(named))
        return values

    async def _set(self, values: Mapping[str, bytes], timeout_s: float | None) -> None:
        redis, px = self._client(), _milliseconds(timeout_s)
        commands = [
            redis.set(key, value, px=px) for key, value in zip(self._named(values), values.values(), strict=True)
        ]
        if len(commands) == 1:
            await self._run(commands[0])
        else:
            await self._run(asyncio.gather(*commands))

    async def _add(self, key: str, value: bytes, timeout_s: float | None) -> bool:
        (name,) = self._named([key])
        return bool(await self._run(self._client().set(name, value, px=_milliseconds(timeout_s), nx=True)))

    async def _delete(self, keys: Sequence[str]) -> list[str]:
        deleted = await self._run(self._client().delete(*self._named(keys)))
        return list(keys)[:deleted]  # how many is all that is asked for

    async def _incr(self, key: str, delta: int, timeout_s: float | None) -> int:
        number: int = await self._eval(_INCR, self._named([key]), [delta, _milliseconds(timeout_s) or 0])
        return number

    async def _touch(self, keys: Sequence[str], timeout_s: float | None) -> None:
        if keys:
            await self._eval(_TOUCH, self._named(keys), [_milliseconds(timeout_s) or -1])

    async def _delete_if(self, key: str, value: bytes) -> bool:
        return bool(await self._eval(_DELETE_IF, self._named([key]), [value]))

    async def has(self, key: str) -> bool:
        """Whether there is a value, ``None`` included."""
        return bool(await self._run(self._client().exists(*self._named([key]))))

    async def delete_many(self, *keys: str) -> list[str]:
        """Delete several, in one round trip; the keys that have no value now: all of them."""
        if keys:
            await self._delete(keys)
        return list(keys)

    async def unlink(self, *keys: str) -> list[str]:
        """``UNLINK``: the memory is freed later, by a thread of the server."""
        if keys:
            await self._run(self._client().unlink(*self._named(keys)))
        return list(keys)

    async def _clear(self) -> bool:
        """With a key prefix the keys that have it, a thousand at a time; else ``FLUSHDB``. Whether there were any."""
        (prefix,) = self._named([""])
        redis, removed, cursor = self._client(), 0, 0
        if not prefix:
            return bool(await self._run(redis.flushdb()))
        pattern = "".join(f"\\{sign}" if sign in "*?[]^\\" else sign for sign in prefix) + "*"
        while True:
            cursor, keys = await self._run(redis.scan(cursor, match=pattern, count=1000))
            if keys:
                removed += await self._run(redis.unlink(*keys))
            if not int(cursor):
                return bool(removed)


class RedisCache(RedisCommands):
    """A cache in Redis. A command that gets no answer within ``REDIS_DEADLINE_S`` raises
    :exc:`~decant.errors.RedisUnavailable`.

    :param host: a name, a URL (``redis://…``), or a client of ``redis.asyncio``; of a client of ``redis`` the place.
    :param password: and ``db``, ``port``: where ``host`` is a name.
    :param app: whose client it is (:func:`decant.redis.client`).
    :param kwargs: options of :class:`decant.redis.Options`; others go into the URL, as redis-py reads them.
    :raises ValueError: if ``host`` is ``None``.
    """

    def __init__(
        self,
        host: Any = "localhost",
        port: int = 6379,
        password: str | None = None,
        db: int = 0,
        default_timeout: Timeout = 300,
        key_prefix: Prefix = None,
        ignore_delete_many_errors: bool = False,
        *,
        app: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            key_prefix=key_prefix, default_timeout=default_timeout, ignore_delete_many_errors=ignore_delete_many_errors
        )
        if host is None:
            raise ValueError("RedisCache host parameter may not be None")
        if kwargs.pop("decode_responses", False):
            raise ValueError("decode_responses is not supported by RedisCache.")
        self.client: Any = host
        self._plain: Any = None
        pool = getattr(host, "connection_pool", None)
        if pool is not None and not asyncio.iscoroutinefunction(getattr(host, "execute_command", None)):
            self._plain, host = host, _url_of(pool)
        if isinstance(host, str):
            url = self._place = host if "://" in host else _url(host, port, password, db)
            given = {name: kwargs.pop(name) for name in _OPTIONS & kwargs.keys()}
            self.client = client(app, _with_query(url, kwargs), **given)
        elif not asyncio.iscoroutinefunction(getattr(host, "execute_command", None)):
            raise ConfigError("CACHE_REDIS_HOST", host, "a host name or a client of redis.asyncio is allowed")
        self._scripts: dict[str, Any] = {}

    @classmethod
    def factory(cls, app: Any, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Self:
        """``CACHE_REDIS_URL``, or ``CACHE_REDIS_HOST`` and its like, or else the application's ``REDIS_URL``."""
        url, host = config.get("CACHE_REDIS_URL"), config.get("CACHE_REDIS_HOST")
        given: dict[str, Any] = {"app": app, "key_prefix": config["CACHE_KEY_PREFIX"], **kwargs}
        if url or (host is None and config.get("REDIS_URL") and "host" not in given):
            url = url or config["REDIS_URL"]
            if not isinstance(url, str):
                raise ConfigError("CACHE_REDIS_URL", url, "a URL is allowed: redis://[user:password@]host[:port][/db]")
            return cls(_in_database(url, config.get("CACHE_REDIS_DB")), *args, **given)
        for name, default in (("host", "localhost"), ("port", 6379), ("password", None), ("db", 0)):
            given.setdefault(name, config.get(f"CACHE_REDIS_{name.upper()}") or default)
        return cls(*args, **given)

    def _client(self) -> Any:
        return self.client

    @property
    def _write_client(self) -> Any:
        """As cachelib's: a blocking client of redis-py, which applications use for commands that a cache lacks."""
        if self._plain is None:
            from redis import Redis as Plain

            self._plain = Plain.from_url(self._place)
        return self._plain

    _read_client = _write_client

    async def _eval(self, source: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        if not isinstance(self.client, Redis):
            return await super()._eval(source, keys, args)
        script = self._scripts.get(source)
        if script is None:
            script = self._scripts[source] = self.client.script(source)
        return await script(keys=keys, args=args)


def _url(host: str, port: int, password: str | None, db: int) -> str:
    try:
        place = f"{int(port)}/{int(db)}"
    except (TypeError, ValueError):
        raise ConfigError("CACHE_REDIS_PORT, CACHE_REDIS_DB", (port, db), "whole numbers are allowed") from None
    secret = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{secret}{host}:{place}"


def _in_database(url: str, db: Any) -> str:
    """The URL, which may leave the database to ``CACHE_REDIS_DB``."""
    parts = urlsplit(url)
    if not db or parts.path.strip("/") or "db=" in parts.query or parts.scheme not in ("redis", "rediss"):
        return url
    return parts._replace(path=f"/{int(db)}").geturl()


def _url_of(pool: Any) -> str:
    """Where the clients of a pool of redis-py's connect to."""
    given, kind = pool.connection_kwargs, pool.connection_class.__name__
    name, secret = (quote(str(given.get(key) or ""), safe="") for key in ("username", "password"))
    login = f"{name}:{secret}@" if name or secret else ""
    db = int(given.get("db") or 0)
    if "path" in given:
        return f"unix://{login}{given['path']}?db={db}"
    scheme = "rediss" if kind.startswith("SSL") else "redis"
    return f"{scheme}://{login}{given.get('host', 'localhost')}:{given.get('port', 6379)}/{db}"


def _with_query(url: str, options: Mapping[str, Any]) -> str:
    if not options:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(dict(options))}"
