"""``flask_socketio``: Flask-SocketIO's names over :mod:`decant.socketio`."""

from __future__ import annotations

from typing import Final

from ... import socketio
from ...faces import face
from ...socketio.namespace import SyncNamespace
from .table import Module, waiting

__all__ = ["MODULES"]

_CLIENT: Final = face(socketio.SocketIOTestClient)

MODULES: Final = {
    "flask_socketio": Module(
        {
            "SocketIO": face(socketio.SocketIO),
            "Namespace": SyncNamespace,
            "SocketIOTestClient": _CLIENT,
            "ConnectionRefusedError": socketio.ConnectionRefusedError,
            **{
                name: waiting(getattr(socketio, name))
                for name in ("emit", "send", "call", "join_room", "leave_room", "close_room", "disconnect")
            },
            "rooms": socketio.rooms,
            "gevent_socketio_found": False,
        }
    ),
    "flask_socketio.namespace": Module({"Namespace": SyncNamespace}),
    "flask_socketio.test_client": Module({"SocketIOTestClient": _CLIENT}),
}
