"""The options of python-socketio and python-engineio: what each may be, as they themselves do not say at the start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from typing import Any, Final

from socketio.base_manager import BaseManager
from socketio.packet import Packet

from ..errors import ConfigError

__all__ = ["ENGINE", "TRANSPORTS", "checked"]

TRANSPORTS: Final = ("polling", "websocket")
Rule = tuple[Callable[[Any], bool], str]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _interval(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) == 2 and _positive(value[0]) and _number(value[1]) and value[1] >= 0
    return _positive(value)


def _texts(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, Collection) and all(isinstance(each, str) for each in value)


def _transports(value: Any) -> bool:
    given = [value] if isinstance(value, str) else value
    return isinstance(given, list | tuple) and bool(given) and all(each in TRANSPORTS for each in given)


def _serializer(value: Any) -> bool:
    if value == "msgpack":
        return find_spec("msgpack") is not None
    return value == "default" or (isinstance(value, type) and issubclass(value, Packet))


_SWITCH: Final[Rule] = (lambda value: isinstance(value, bool), "True or False")
_POSITIVE: Final[Rule] = (_positive, "a positive number")
_LOGGER: Final[Rule] = (lambda value: isinstance(value, bool) or hasattr(value, "info"), "True, False or a logger")
ENGINE: Final[Mapping[str, Rule]] = {
    "client_manager": (lambda value: isinstance(value, BaseManager), "a client manager of python-socketio"),
    "cors_allowed_origins": (lambda value: callable(value) or _texts(value), "origins, '*', or a function"),
    "cors_credentials": _SWITCH,
    "ping_interval": (_interval, "a positive number of seconds, or a pair: that, and seconds of grace"),
    "ping_timeout": _POSITIVE,
    "max_http_buffer_size": _POSITIVE,
    "allow_upgrades": _SWITCH,
    "transports": (_transports, "a list of 'polling' and 'websocket'"),
    "json": (lambda value: hasattr(value, "dumps") and hasattr(value, "loads"), "a module with dumps and loads"),
    "serializer": (_serializer, "'default', 'msgpack' (which needs the package msgpack), or a subclass of Packet"),
    "async_handlers": _SWITCH,
    "always_connect": _SWITCH,
    "namespaces": (_texts, "'*' or a list of namespaces"),
    "http_compression": _SWITCH,
    "compression_threshold": (lambda value: _number(value) and value >= 0, "a number of bytes"),
    "cookie": (lambda value: isinstance(value, str | dict), "a name, or a dictionary of the cookie's attributes"),
    "monitor_clients": _SWITCH,
    "logger": _LOGGER,
    "engineio_logger": _LOGGER,
}
"""What is handed on as it is, if it is given; their own defaults hold for what is not."""


def checked(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that are given, as arguments or as ``SOCKETIO_…`` keys.

    :raises ConfigError: with the key, the value and what is allowed.
    """
    found: dict[str, Any] = {}
    for name, (fits, allowed) in ENGINE.items():
        key = f"SOCKETIO_{name.upper()}"
        value = given.get(name, config.get(key))
        if value is None:
            continue
        if not fits(value):
            raise ConfigError(key, value, allowed)
        found[name] = value
    return found
