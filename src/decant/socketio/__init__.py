"""Flask-SocketIO's API, awaited: ``SocketIO``, and what its handlers call."""

from __future__ import annotations

from ..faces import face as _face

try:
    from socketio.exceptions import ConnectionRefusedError  # noqa: A004

    from .background import BackgroundTask
    from .client import SocketIOTestClient
    from .extension import CallTimeout, SocketIO
    from .functions import call, close_room, disconnect, emit, join_room, leave_room, rooms, send
    from .namespace import Namespace, SyncNamespace
    from .options import Options
    from .serving import beside
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
    "SyncNamespace",
    "beside",
    "call",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "rooms",
    "send",
]

for _kind in (SocketIOTestClient, BackgroundTask):  # what `test_client` and `start_background_task` give on a face
    _face(_kind)
