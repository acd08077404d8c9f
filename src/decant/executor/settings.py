"""The configuration of one executor: Flask-Executor's keys, and ours."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import ConfigError

__all__ = ["Settings", "read"]

_WORDS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0", ""), False),
}
_DEFAULTS: Final[dict[str, Any]] = {
    "EXECUTOR_TYPE": "thread",
    "EXECUTOR_MAX_WORKERS": None,
    "EXECUTOR_MAX_PENDING": 1_000,
    "EXECUTOR_FUTURES_MAX_LENGTH": None,
    "EXECUTOR_PROPAGATE_EXCEPTIONS": False,
    "EXECUTOR_PUSH_APP_CONTEXT": True,
    "EXECUTOR_SHUTDOWN_TIMEOUT": 10,
}


@dataclass(frozen=True)
class Settings:
    """Checked values of one executor in one application."""

    processes: bool
    max_workers: int
    max_pending: int
    futures_max_length: int
    propagate_exceptions: bool
    push_app_context: bool
    shutdown_timeout_s: float


def read(config: MutableMapping[str, Any], prefix: str) -> Settings:
    """Read the keys, which begin with ``prefix``, and set the defaults of those that are missing.

    Texts are converted, as they come from environment variables.

    :raises ConfigError: if a value is wrong.
    """
    for name, default in _DEFAULTS.items():
        config.setdefault(prefix + name, default)
    processes = _kind(config, prefix + "EXECUTOR_TYPE") == "process"
    cores = os.cpu_count() or 1
    return Settings(
        processes,
        _count(config, prefix + "EXECUTOR_MAX_WORKERS", cores if processes else min(32, cores + 4), 1),
        _count(config, prefix + "EXECUTOR_MAX_PENDING", 1_000, 0),
        _count(config, prefix + "EXECUTOR_FUTURES_MAX_LENGTH", 50, 1),
        _switch(config, prefix + "EXECUTOR_PROPAGATE_EXCEPTIONS"),
        _switch(config, prefix + "EXECUTOR_PUSH_APP_CONTEXT"),
        _seconds(config, prefix + "EXECUTOR_SHUTDOWN_TIMEOUT"),
    )


def _kind(config: MutableMapping[str, Any], key: str) -> str:
    value = config[key]
    if value not in ("thread", "process"):
        raise ConfigError(key, value, f"{value} is not a valid executor type. 'thread' and 'process' are allowed")
    return str(value)


def _count(config: MutableMapping[str, Any], key: str, default: int, least: int) -> int:
    value = config[key]
    if value is None:
        return default
    try:
        number = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or number < least:
        raise ConfigError(key, value, f"an integer, at least {least}, or None for {default}, is allowed")
    return number


def _seconds(config: MutableMapping[str, Any], key: str) -> float:
    value = config[key]
    try:
        seconds = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(key, value, "a number of seconds, at least 0, is allowed")
    return seconds


def _switch(config: MutableMapping[str, Any], key: str) -> bool:
    value = config[key]
    known = _WORDS.get(value.strip().lower()) if isinstance(value, str) else bool(value)
    if known is None:
        raise ConfigError(key, value, "True or False is allowed, or a text as 'true' and 'no'")
    return known
