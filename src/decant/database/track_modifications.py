"""``SQLALCHEMY_TRACK_MODIFICATIONS``: signals that tell which models a commit changes.

Both signals are sent with the application as sender and ``changes``, a list of ``(model, "insert" | "update" |
"delete")``. They are sent within the commit, so receivers are plain functions; what they must await they
``decant.wait`` for.
"""

from __future__ import annotations

from typing import Any

from blinker import Namespace
from sqlalchemy import event, inspect

from ..context import current_app, has_app
from .session import Session

__all__ = ["before_models_committed", "listen", "models_committed"]

_signals = Namespace()
models_committed = _signals.signal("models-committed")
"""Sent after a commit that changed models."""
before_models_committed = _signals.signal("before-models-committed")
"""Sent before it."""


def listen(session_class: Any) -> None:
    """Track the changes of a session class; which application wants it is asked each time."""
    if "tracks_modifications" in vars(session_class):  # event.contains() mistakes a new class for a dead one
        return
    session_class.tracks_modifications = True
    event.listen(session_class, "before_flush", _record)
    event.listen(session_class, "before_commit", _before_commit)
    event.listen(session_class, "after_commit", _after_commit)
    event.listen(session_class, "after_rollback", _forget)


def _is_wanted() -> bool:
    return has_app() and bool(current_app().config.get("SQLALCHEMY_TRACK_MODIFICATIONS"))


def _record(session: Session, *_: Any) -> None:
    if not _is_wanted():
        return
    changes = session.model_changes
    for models, operation in ((session.new, "insert"), (session.dirty, "update"), (session.deleted, "delete")):
        for model in models:
            state: Any = inspect(model)
            changes[state.identity_key if state.has_identity else id(model)] = (model, operation)


def _before_commit(session: Session) -> None:
    _record(session)
    if session.model_changes and _is_wanted():
        before_models_committed.send(current_app(), changes=list(session.model_changes.values()))


def _after_commit(session: Session) -> None:
    if session.model_changes and _is_wanted():
        changes = list(session.model_changes.values())
        session.model_changes.clear()
        models_committed.send(current_app(), changes=changes)


def _forget(session: Session) -> None:
    session.model_changes.clear()
