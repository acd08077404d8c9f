"""``SQLALCHEMY_LAZY_LOADS``: lazy loads of relationships allowed, warned of, or refused.

They work on an event loop, thanks to the bridge; but each is a query of its own, and one in a loop is many.
"""

from __future__ import annotations

import warnings
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.orm import ORMExecuteState, RelationshipProperty

from ..context import current_app, has_app
from ..errors import DecantError
from .places import Place, find_place

__all__ = ["LazyLoadError", "LazyLoadWarning", "listen"]

_warned: set[tuple[str, Place]] = set()


class LazyLoadWarning(UserWarning):
    """A relationship was loaded lazily, with ``SQLALCHEMY_LAZY_LOADS = "warn"``; once per place."""


class LazyLoadError(DecantError, exc.InvalidRequestError):
    """A relationship would have been loaded lazily, with ``SQLALCHEMY_LAZY_LOADS = "raise"``."""


def listen(session_class: Any) -> None:
    """Watch the lazy loads of a session class; which application wants what is asked each time."""
    if "watches_lazy_loads" not in vars(session_class):  # event.contains() mistakes a new class for a dead one
        session_class.watches_lazy_loads = True
        event.listen(session_class, "do_orm_execute", _watch)


def _watch(state: ORMExecuteState) -> None:
    if state.lazy_loaded_from is None or not has_app():
        return
    mode = current_app().config.get("SQLALCHEMY_LAZY_LOADS", "allow")
    if mode == "allow":
        return
    relationship = _relationship(state)
    if relationship is None:
        return
    place = find_place() or Place("<unknown>", 0, "?")
    name = f"{relationship.parent.class_.__name__}.{relationship.key}"
    message = (
        f"{name} was loaded lazily at {place}: one more query for each {relationship.parent.class_.__name__}. To load"
        f" it along: select({relationship.parent.class_.__name__}).options(selectinload({name}))"
    )
    if mode == "raise":
        raise LazyLoadError(message.replace("was loaded", "would be loaded", 1))
    if (name, place) not in _warned:
        _warned.add((name, place))
        warnings.warn_explicit(message, LazyLoadWarning, place.file, place.line)


def _relationship(state: ORMExecuteState) -> RelationshipProperty[Any] | None:
    path: Any = state.loader_strategy_path
    for step in reversed(path.path if path is not None else ()):
        if isinstance(step, RelationshipProperty):
            return step
    return None
