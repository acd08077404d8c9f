"""The session that handlers see: a copy that belongs to the client, or the application's own."""

from __future__ import annotations

from typing import Any, Final

from quart.sessions import SessionMixin

__all__ = ["HELD", "ManagedSession", "holds_sessions", "holds_sessions_sync"]

HELD: Final = "decant.socketio.session"
"""In the scope of a handshake's request, in Flask in its environ: the session that its context is to have."""


class ManagedSession(dict[str, Any], SessionMixin):
    """The copy of the session that one client has as long as it is connected."""

    modified = True
    accessed = True


class _Holds:
    """Mixed into the class of a session interface: it gives a request the session that its scope holds."""

    async def open_session(self, app: Any, request: Any) -> Any:
        held = request.scope.get(HELD)
        if held is not None:
            return held
        return await app.ensure_async(super().open_session)(app, request)  # type: ignore[misc]


class _HoldsSync:
    """:class:`_Holds` for Flask, whose requests have an environ."""

    def open_session(self, app: Any, request: Any) -> Any:
        held = request.environ.get(HELD)
        return held if held is not None else super().open_session(app, request)  # type: ignore[misc]


def holds_sessions(app: Any) -> None:
    """Have ``app.session_interface``, whichever it is by now, give requests the session that their scope holds.

    It stays what it was, by class and by state: a subclass of its class that shares its attributes.
    """
    _mix_in(app, _Holds)


def holds_sessions_sync(app: Any) -> None:
    """:func:`holds_sessions` for a Flask application: the session that the request's environ holds."""
    _mix_in(app, _HoldsSync)


def _mix_in(app: Any, holds: type[Any]) -> None:
    interface = app.session_interface
    if isinstance(interface, holds):
        return
    kind = type(interface)
    held: Any = object.__new__(type(kind.__name__, (holds, kind), {"__module__": kind.__module__}))
    held.__dict__ = interface.__dict__
    app.session_interface = held
