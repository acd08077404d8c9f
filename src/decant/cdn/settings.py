"""``CDN_*``: what an application's configuration says, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

__all__ = ["Settings", "read_settings"]

_FLAG = "True or False"


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys without ``CDN_``; ``memory_bytes`` is ``CDN_MEMORY``."""

    domain: str | None
    https: bool | None
    timestamp: bool
    debug: bool
    endpoints: tuple[str, ...]
    compress: bool
    memory_bytes: int
    fingerprint: str


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Check the configuration.

    :raises ConfigError: naming the key, its value and what is allowed.
    """
    domain = _checked(config, "CDN_DOMAIN", "a host name without a scheme or path, or None", _is_host)
    endpoints = _checked(config, "CDN_ENDPOINTS", "a list of endpoints' names", _are_names)
    memory = _checked(
        config, "CDN_MEMORY", "a number of bytes, at least 0", lambda value: type(value) is int and value >= 0
    )
    https = _checked(config, "CDN_HTTPS", f"{_FLAG}, or None", lambda value: value is None or type(value) is bool)
    timestamp, debug, compress = (
        _checked(config, key, _FLAG, lambda value: type(value) is bool)
        for key in ("CDN_TIMESTAMP", "CDN_DEBUG", "CDN_COMPRESS")
    )
    fingerprint = _checked(config, "CDN_FINGERPRINT", "'content' or 'time'", lambda value: value in ("content", "time"))
    return Settings(domain or None, https, timestamp, debug, tuple(endpoints), compress, memory, fingerprint)


def _checked(config: Mapping[str, Any], key: str, allowed: str, fits: Any) -> Any:
    value = config[key]
    if not fits(value):
        raise ConfigError(key, value, allowed)
    return value


def _is_host(value: Any) -> bool:
    return not value or (isinstance(value, str) and "/" not in value and not value.isspace())


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple | set) and all(isinstance(name, str) for name in value)
