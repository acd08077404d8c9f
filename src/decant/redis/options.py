"""What a client is made of: its options, read from the configuration and checked, and its connection pools."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..errors import ConfigError

__all__ = ["Options", "make_pool", "masked", "options_from"]

_SCHEMES = ("redis", "rediss", "unix")
_URL_HELP = "redis://[user:password@]host[:port][/database], rediss://… (TLS) or unix://[user:password@]/path?db=…"

_CONNECTION: dict[str, Any] = {
    "protocol": 2,
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "retry_on_timeout": False,
    "socket_timeout": None,
}
with suppress(ImportError):  # redis-py 7 and newer would read its package's metadata from the disk each time
    _CONNECTION["driver_info"] = import_module("redis.driver_info").DriverInfo()


@dataclass(frozen=True)
class Options:
    """The options of one client; clients that differ in any are different clients. Times are in seconds.

    :ivar deadline_s: from issuing a command to its answer. ``REDIS_DEADLINE_S``
    :ivar pool_size: connections for batched commands, per loop. ``REDIS_POOL_SIZE``
    :ivar dedicated_size: connections that one caller holds: blocking commands, transactions, subscriptions.
        ``REDIS_DEDICATED_SIZE``
    :ivar max_pending: commands that may wait for an answer; one more raises
        :exc:`~decant.errors.Overloaded`. ``REDIS_MAX_PENDING``
    :ivar breaker_failures: failures in a row that open the circuit breaker. ``REDIS_BREAKER_FAILURES``
    :ivar breaker_reset_s: how long it refuses commands before one probes. ``REDIS_BREAKER_RESET_S``
    """

    url: str = field(repr=False)
    decode_responses: bool = False
    deadline_s: float = 0.25
    pool_size: int = 10
    dedicated_size: int = 100
    max_pending: int = 20_000
    breaker_failures: int = 5
    breaker_reset_s: float = 1.0


def options_from(config: Mapping[str, Any], url: str | None = None, **given: Any) -> Options:
    """Read the ``REDIS_…`` keys; ``url`` and what is ``given`` and not ``None`` win over them.

    :raises ConfigError: with the key, the value (its password masked) and what is allowed.
    """
    key = "REDIS_URL" if url is None else "url"
    found = config.get("REDIS_URL") if url is None else url
    if not isinstance(found, str):
        raise ConfigError(key, found, _URL_HELP)
    values: dict[str, Any] = {}
    for option in fields(Options):
        name = option.name if given.get(option.name) is not None else f"REDIS_{option.name.upper()}"
        value = given.get(option.name)
        value = config.get(name, option.default) if value is None else value
        if option.name != "url":
            values[option.name] = _checked(name, value, type(option.default))
    options = Options(found, **values)
    _check_url(key, options)
    return options


def _checked(name: str, value: Any, kind: type) -> Any:
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(name, value, "True or False")
        return value
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or not 0 < number < float("inf") or (kind is int and number != float(value)):
        raise ConfigError(name, value, "a positive whole number" if kind is int else "a positive number of seconds")
    return number


def _check_url(key: str, options: Options) -> None:
    """Refuse at the start what redis-py would refuse at the first command, or silently ignore."""
    reason = ""
    try:
        parts = urlsplit(options.url)
        _ = parts.port  # raises where it is no port
        if parts.scheme not in _SCHEMES:
            reason = _URL_HELP
        elif parts.fragment or (parts.scheme != "unix" and parts.path.strip("/") and not parts.path[1:].isdigit()):
            reason = f"{_URL_HELP}; the path is the number of a database, '#' and '/' in a password are %23 and %2F"
        else:
            make_pool(options, 1).make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError) as error:  # their texts may quote parts of the URL
        reason = f"{_URL_HELP} ({type(error).__name__} in its port, database or query)"
    if reason:
        raise ConfigError(key, masked(options.url), reason)


def masked(url: str) -> str:
    """The URL without user, password and query, for messages and logs.

    >>> masked("redis://me:secret@db:6379/0?x=1")
    'redis://***@db:6379/0'
    """
    scheme, found, rest = url.partition("://")
    if not found or not scheme.isalnum():
        return "***"
    before, at, after = rest.rpartition("@")
    if "?" in before:  # the @ may be part of a password in the query, or the ? part of one before the @
        return f"{scheme}://***"
    shown = after.partition("?")[0].partition("#")[0]
    return f"{scheme}://{'***@' if at else ''}{shown}"


def make_pool(options: Options, size: int) -> BlockingConnectionPool:
    """A blocking pool of at most ``size`` connections.

    redis-py's own retries are off: it cannot know whether an INCR that got no answer was run. Its socket timeout
    is off as well: the deadlines are ours, and a blocking command has a longer one. What the URL's query says of
    these, or of what has an option here, is for those who share the URL: it is not used.
    """
    extra: dict[str, Any] = {} if options.url.startswith("unix:") else {"socket_keepalive": True}
    ours: dict[str, Any] = {
        "max_connections": size,
        "timeout": options.deadline_s * 0.8,  # within the deadline, so that the error says which of the two it was
        "decode_responses": options.decode_responses,
        "socket_connect_timeout": options.deadline_s,
        **_CONNECTION,
        **extra,
    }
    return BlockingConnectionPool(**{**parse_url(options.url), **ours})
