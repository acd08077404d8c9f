"""Class-based namespaces."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import socketio

from ..faces import faced, twin_of
from ..faces.values import as_plain, result

if TYPE_CHECKING:
    from .extension import SocketIO

__all__ = ["Namespace", "SyncNamespace"]


class Namespace(socketio.AsyncNamespace):  # type: ignore[misc]
    """A namespace whose methods ``on_<event>`` handle its events, as Flask-SocketIO's; they may be ``async``.

    Handlers take the event's arguments only: ``request.sid`` is the client. Besides these, python-socketio's methods
    are here: ``enter_room``, ``leave_room``, ``rooms``, ``call``, ``disconnect``, ``get_session``, ``save_session``,
    ``session``. A method ``error(exception)`` hears of what its handlers raise and no ``on_error`` takes.
    """

    socketio: SocketIO | None = None

    async def trigger_event(self, event: str | None, *args: Any) -> Any:
        """Call the method of an event, with the handshake's context; override it for rules of your own.

        :param args: the client's sid, then the event's arguments; for the namespace ``*``, before them the namespace
            that the client is connected to.
        """
        extension = self._extension()
        namespace = self.namespace
        if namespace == "*":
            namespace, *args = args  # type: ignore[assignment]
        return await extension.run_handler(
            getattr(self, f"on_{event or ''}", None), event, namespace, *args, owner=self
        )

    def _extension(self) -> SocketIO:
        if self.socketio is None:
            raise RuntimeError(f"{self!r} is not registered: call socketio.on_namespace() with it")
        return twin_of(self.socketio)  # type: ignore[no-any-return]

    async def emit(
        self,
        event: str,
        data: Any = None,
        room: Any = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Any = None,
        **options: Any,
    ) -> None:
        """As ``SocketIO.emit``, in this namespace."""
        await self._extension().emit(
            *(event, data),
            namespace=namespace or self.namespace,
            room=room,
            include_self=include_self,
            callback=callback,
            **options,
        )

    async def send(
        self,
        data: Any,
        room: Any = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Any = None,
        **options: Any,
    ) -> None:
        """As ``SocketIO.send``, in this namespace."""
        await self._extension().send(
            data,
            namespace=namespace or self.namespace,
            room=room,
            include_self=include_self,
            callback=callback,
            **options,
        )

    async def close_room(self, room: Any, namespace: str | None = None) -> None:
        """As ``SocketIO.close_room``, in this namespace."""
        await self._extension().close_room(room, namespace=namespace or self.namespace)


class SyncNamespace(Namespace):
    """:class:`Namespace` for Flask applications: its methods return values. What handlers are is the same.

    A face of :class:`Namespace` would not do: users derive their own from it.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, faced(value) if name == "socketio" and value is not None else value)


def _waiting(name: str) -> Any:
    original = getattr(Namespace, name)

    @wraps(original)
    def method(self: SyncNamespace, *args: Any, **kwargs: Any) -> Any:
        return result(original(self, *args, **kwargs))

    as_plain(method)
    return method


for _name in (
    *("emit", "send", "call", "enter_room", "leave_room", "close_room"),
    *("disconnect", "get_session", "save_session", "session"),
):
    setattr(SyncNamespace, _name, _waiting(_name))
