"""What a ``SocketIO`` is made of: its keyword arguments and the ``SOCKETIO_…`` keys, checked when it meets its app."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from ..errors import ConfigError
from ..warn import warn
from .engine_options import ENGINE, TRANSPORTS, checked

__all__ = ["Options", "options_from"]

_QUEUES: Final = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True)
class Options:
    """The options that are ours; each is a keyword argument, or ``SOCKETIO_`` and its name in capitals.

    :ivar message_queue: the Redis that connects several processes; by default ``REDIS_URL``; ``""`` for none.
    :ivar channel: the name of its channel.
    :ivar path: where clients connect; ``resource`` is its other name.
    :ivar manage_session: whether each client has a copy of its handshake's session.
    :ivar sticky: whether the proxy sends each client to the process that has it (long polling needs that).
    :ivar when_away: ``"keep"`` or ``"drop"`` what is emitted while Redis is away.
    :ivar outbox_size: how many such events are kept.
    :ivar max_buffer: packets that may wait for one client; one more disconnects it.
    :ivar max_buffer_bytes: the same in bytes.
    :ivar max_events: events of one client that may be handled at a time; it is not read meanwhile.
    :ivar heartbeat_s: how often the listener makes sure that it still hears.
    :ivar shutdown_timeout_s: how long handlers may go on, and clients may take to leave, once the server stops.
    """

    message_queue: str = field(default="", repr=False)
    channel: str = "flask-socketio"
    path: str = "socket.io"
    manage_session: bool = True
    sticky: bool = False
    when_away: str = "keep"
    outbox_size: int = 1_000
    max_buffer: int = 1_000
    max_buffer_bytes: int = 8_000_000
    max_events: int = 100
    heartbeat_s: float = 2.0
    shutdown_timeout_s: float = 5.0
    engine: dict[str, Any] = field(default_factory=dict)

    @property
    def transports(self) -> list[str]:
        given = self.engine.get("transports") or TRANSPORTS
        return [given] if isinstance(given, str) else list(given)


def options_from(config: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """Read the options; what is ``given`` wins over the configuration.

    :raises ConfigError: with the key, the value and what is allowed.
    :raises TypeError: for a keyword argument that there is not.
    """
    values = _named(given)
    ours = {option.name: type(option.default) for option in fields(Options) if option.name != "engine"}
    unknown = values.keys() - ours.keys() - ENGINE.keys()
    if unknown:
        raise TypeError(f"SocketIO() has no option {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    for name, kind in ours.items():
        key = name if values.get(name) is not None else f"SOCKETIO_{name.upper()}"
        value = values[name] if values.get(name) is not None else config.get(key)
        if name == "message_queue":
            value = _queue(key, value, config)
        if value is not None:
            found[name] = _checked(key, value, kind)
    if found.get("when_away", "keep") not in ("keep", "drop"):
        raise ConfigError("SOCKETIO_WHEN_AWAY", found["when_away"], "'keep' or 'drop'")
    found["path"] = found.get("path", "socket.io").strip("/") or "socket.io"
    return Options(**found, engine=_engine(config, values))


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments with today's names."""
    values = dict(given)
    resource = values.pop("resource", None)
    if values.get("path") is None and resource is not None:
        values["path"] = resource
    mode = values.pop("async_mode", None)
    if mode not in (None, "asgi"):
        warn(
            f"async_mode={mode!r} is of Flask-SocketIO: here it is always 'asgi'. Leave it out.",
            DeprecationWarning,
        )
    return values


def _queue(key: str, value: Any, config: Mapping[str, Any]) -> str | None:
    if value is None:
        key, value = "REDIS_URL", config.get("REDIS_URL")
    if value is None or value == "" or value is False:
        return ""
    if not isinstance(value, str) or not value.startswith(_QUEUES):
        shown = value.partition("://")[0] + "://…" if isinstance(value, str) else value
        raise ConfigError(key, shown, f"{', '.join(_QUEUES)} (for another queue, give a client_manager)")
    return value


def _checked(key: str, value: Any, kind: type) -> Any:
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and kind is not bool):
        names = {bool: "True or False", str: "a text", int: "a whole number", float: "a number of seconds"}
        raise ConfigError(key, value, names[kind])
    if kind in (int, float) and value <= 0:
        raise ConfigError(key, value, "a positive number")
    return value


def _engine(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    found = checked(config, values)
    for name, logger in (("logger", "decant.socketio.server"), ("engineio_logger", "decant.socketio.engine")):
        found[name] = _logger(found.get(name, False), logger)
    return found


def _logger(value: Any, name: str) -> Any:
    """``True`` is a logger that says everything, ``False`` one that says warnings and errors.

    As with Flask-SocketIO, what was asked for is printed where the program has not set up its log.
    """
    if not isinstance(value, bool):
        return value
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO if value else logging.WARNING)
    if value and not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())
    return logger
