"""Flask-SocketIO's API, awaited: ``SocketIO``, and what its handlers call."""

from __future__ import annotations

try:
    from socketio.exceptions import ConnectionRefusedError  # noqa: A004

    from .background import BackgroundTask
    from .client import SocketIOTestClient
    from .extension import CallTimeout, SocketIO
    from .functions import call, close_room, disconnect, emit, join_room, leave_room, rooms, send
    from .namespace import Namespace
    from .options import Options
except ModuleNotFoundError as error:
    from ..errors import missing_extra

    if (error.name or "").partition(".")[0] not in ("socketio", "engineio"):
        raise
    raise missing_extra("decant.socketio", "socketio", error) from error

__all__ = [
    "BackgroundTask",
    "CallTimeout",
    "ConnectionRefusedError",
    "Namespace",
    "Options",
    "SocketIO",
    "SocketIOTestClient",
    "call",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "rooms",
    "send",
]
