"""SQLAlchemy's session per thread becomes one per request, where many requests share the thread of the event loop.

``scoped_session(sessionmaker())`` keeps its session in a ``threading.local``: on the loop, every request would be
given the same one. The registry behind it is told to ask :func:`decant.bridge.flow` instead: a request is one flow, on
the loop and in the threads that work for it; so are a child task, and a thread of one's own. A ``scopefunc`` that is
given stays.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import MutableMapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from ..bridge import flow
from .views import AT_END

__all__ = ["close_left", "make_bridge_local", "make_thread_local"]

logger = logging.getLogger("decant.flask")
_METHODS: Final = ("__call__", "has", "set", "clear")
_values: Final[MutableMapping[Any, MutableMapping[Any, Any]]] = WeakKeyDictionary()  # by flow, then by registry
_original: Final[dict[str, Any]] = {}


def make_bridge_local() -> bool:
    """Make plain ``scoped_session``\\ s, also those that exist, one per request; ``False`` without SQLAlchemy.

    What a request leaves behind, as one that forgets ``Session.remove()``, is closed when it ends. The sessions that
    threads have open now are forgotten: call it before the application is imported, as ``decant serve`` does.
    """
    if importlib.util.find_spec("sqlalchemy") is None:
        return False
    from sqlalchemy.util import ThreadLocalRegistry

    if not _original:
        for name in _METHODS:
            _original[name] = ThreadLocalRegistry.__dict__[name]
            setattr(ThreadLocalRegistry, name, globals()[f"_{name.strip('_')}"])
        AT_END.append(close_left)
    return True


def make_thread_local() -> None:
    """Undo :func:`make_bridge_local`, for tests."""
    if _original:
        from sqlalchemy.util import ThreadLocalRegistry

        for name in _METHODS:
            setattr(ThreadLocalRegistry, name, _original.pop(name))
        AT_END.remove(close_left)


def close_left() -> None:
    """Close the sessions that the flow here has left open."""
    for value in dict(_values.pop(flow(), ())).values():
        try:
            value.close()
        except Exception:  # the answer has been sent
            logger.warning("a session that a request had left open could not be closed", exc_info=True)


def _mine() -> MutableMapping[Any, Any]:
    me = flow()
    found = _values.get(me)
    if found is None:
        found = _values[me] = WeakKeyDictionary()
    return found


def _call(self: Any) -> Any:
    mine = _mine()
    value = mine.get(self)
    if value is None:
        value = mine[self] = self.createfunc()
    return value


def _has(self: Any) -> bool:
    return self in _values.get(flow(), ())


def _set(self: Any, value: Any) -> None:
    _mine()[self] = value


def _clear(self: Any) -> None:
    _values.get(flow(), {}).pop(self, None)
