"""What handlers call: each concerns the client whose event is handled, unless it is told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..context import current_app, current_request, has_request
from ..faces import twin_of

if TYPE_CHECKING:
    from .extension import SocketIO

__all__ = ["call", "close_room", "disconnect", "emit", "join_room", "leave_room", "rooms", "send"]


def _event(name: str) -> tuple[Any, SocketIO]:
    """The handshake's request with ``sid`` and ``namespace``, and the extension.

    :raises RuntimeError: outside a handler.
    """
    request = current_request() if has_request() else None
    if not hasattr(request, "sid"):
        raise RuntimeError(
            f"{name}() was called outside a Socket.IO handler: in a view, a task or a job call the method of the same"
            " name of your SocketIO object"
        )
    return request, twin_of(current_app().extensions["socketio"])


def _options(name: str, options: dict[str, Any]) -> tuple[SocketIO, dict[str, Any]]:
    request, extension = _event(name)
    to = options.pop("to", None) or options.pop("room", None)
    if not options.pop("broadcast", False) and to is None:
        to = request.sid
    options.pop("room", None)
    return extension, {"namespace": request.namespace, **options, "to": to}


async def emit(event: str, *args: Any, **options: Any) -> None:
    """Emit an event to the client whose event is handled.

    ``namespace`` (that of the event), ``callback``, ``broadcast`` (to all), ``to`` or ``room`` (a room, a sid, or a
    list of them), ``include_self``, ``skip_sid``, ``ignore_queue``.

    :raises RuntimeError: outside a handler.
    """
    extension, options = _options("emit", options)
    await extension.emit(event, *args, **options)


async def send(message: Any, **options: Any) -> None:
    """Send a message: the event ``message``, or ``json`` with ``json=True``. The options are those of :func:`emit`."""
    extension, options = _options("send", options)
    await extension.send(message, **options)


async def call(event: str, *args: Any, **options: Any) -> Any:
    """Emit an event to one client and wait for its answer, at most ``timeout`` seconds (60).

    :raises TimeoutError: if it does not answer in time; python-socketio's, which is a builtin one as well.
    """
    request, extension = _event("call")
    to = options.pop("to", None) or options.pop("room", None) or request.sid
    return await extension.call(event, *args, **{"namespace": request.namespace, **options, "to": to})


def _client(name: str, sid: str | None, namespace: str | None) -> tuple[Any, str, str]:
    request, extension = _event(name)
    return extension.server, sid or request.sid, namespace or request.namespace


async def join_room(room: Any, sid: str | None = None, namespace: str | None = None) -> None:
    """Let the client enter a room."""
    server, sid, namespace = _client("join_room", sid, namespace)
    await server.enter_room(sid, room, namespace=namespace)


async def leave_room(room: Any, sid: str | None = None, namespace: str | None = None) -> None:
    """Let the client leave a room."""
    server, sid, namespace = _client("leave_room", sid, namespace)
    await server.leave_room(sid, room, namespace=namespace)


async def close_room(room: Any, namespace: str | None = None) -> None:
    """Let all clients leave a room."""
    server, _, namespace = _client("close_room", None, namespace)
    await server.close_room(room, namespace=namespace)


def rooms(sid: str | None = None, namespace: str | None = None) -> list[Any]:
    """The rooms of a client of this process; its own sid is one. Not to be awaited."""
    server, sid, namespace = _client("rooms", sid, namespace)
    found: list[Any] = server.rooms(sid, namespace=namespace)
    return found


async def disconnect(sid: str | None = None, namespace: str | None = None, silent: bool = False) -> None:
    """Disconnect a client from the namespace. ``silent`` is deprecated and does nothing, as in Flask-SocketIO."""
    server, sid, namespace = _client("disconnect", sid, namespace)
    await server.disconnect(sid, namespace=namespace)
