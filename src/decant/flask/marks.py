"""Which views block, as their authors say: by a mark, or by name in ``DECANT_BLOCKING_VIEWS``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..errors import ConfigError

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["BLOCKING_VIEWS", "Blocking", "blocking", "layers"]

V = TypeVar("V")
_MARK: Final = "decant_blocking"
BLOCKING_VIEWS: Final = "DECANT_BLOCKING_VIEWS"


def blocking(view: V) -> V:
    """Mark a view as one that blocks: it runs in a thread, where other views run on the event loop.

    A view function, a class of views (or one method of it, as ``def post``), or a whole blueprint. It may stand above
    or below ``@app.route`` and other decorators, as long as those use ``functools.wraps``. Where views run in
    threads anyway, it changes nothing.

    :raises TypeError: for an ``async def`` view, which runs on the loop wherever it is called from.
    """
    if inspect.iscoroutinefunction(view):
        raise TypeError(
            f"{_name(view)} is async: it runs on the event loop and cannot be sent to a thread. Make it a plain def,"
            " or give what blocks in it to a thread: await asyncio.to_thread(function)"
        )
    try:
        setattr(getattr(view, "__func__", view), _MARK, True)
    except AttributeError as error:
        raise TypeError(f"{_name(view)} cannot be marked: list its endpoint in {BLOCKING_VIEWS}") from error
    return view


def layers(view: Any) -> Iterator[Any]:
    """A view and what its decorators hide, from the outside in: ``functools.wraps`` and ``functools.partial``."""
    seen: set[int] = set()
    while view is not None and id(view) not in seen:
        seen.add(id(view))
        yield view
        view = getattr(view, "__wrapped__", None) or getattr(view, "func", None)


class Blocking:
    """The views of one application that block.

    :param app: ``DECANT_BLOCKING_VIEWS`` in its configuration lists endpoints, as ``url_for`` takes them, and
        blueprints as ``"admin.*"``.
    """

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._counted: tuple[int, int] | None = None
        self._endpoints: frozenset[str] = frozenset()

    @property
    def endpoints(self) -> frozenset[str]:
        """Those of which at least one method blocks.

        :raises ConfigError: if ``DECANT_BLOCKING_VIEWS`` names what is not there.
        """
        counted = (len(self.app.view_functions), len(self.app.blueprints))
        if counted != self._counted:  # Flask takes no more of them once it has begun to serve
            listed = self._listed()
            marked = {name for name in self.app.view_functions if self._is_marked(name, None)}
            self._endpoints, self._counted = listed | marked, counted
        return self._endpoints

    def __contains__(self, asked: tuple[str, str]) -> bool:
        """Whether ``(endpoint, method)`` blocks."""
        endpoint, method = asked
        return endpoint in self.endpoints and (endpoint in self._listed() or self._is_marked(endpoint, method))

    def _listed(self) -> frozenset[str]:
        names = self.app.config.get(BLOCKING_VIEWS, ())
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise ConfigError(BLOCKING_VIEWS, names, "a list of endpoints is needed, as ['reports.export', 'admin.*']")
        found: set[str] = set()
        for name in names:
            known = [view for view in self.app.view_functions if view == name or _is_in(view, name)]
            if not known:
                raise ConfigError(BLOCKING_VIEWS, name, f"the endpoints are {sorted(self.app.view_functions)}")
            found.update(known)
        return frozenset(found)

    def _is_marked(self, endpoint: str, method: str | None) -> bool:
        blueprint = endpoint.rpartition(".")[0]
        while blueprint:
            if getattr(self.app.blueprints.get(blueprint), _MARK, False):
                return True
            blueprint = blueprint.rpartition(".")[0]
        return any(_marked(layer, method) for layer in layers(self.app.view_functions.get(endpoint)))


def _is_in(endpoint: str, pattern: str) -> bool:
    return pattern.endswith(".*") and endpoint.startswith(pattern[:-1])


def _marked(view: Any, method: str | None) -> bool:
    """:param method: ``None`` for any of those that a class of views has."""
    if getattr(view, _MARK, False):
        return True
    of_class = getattr(view, "view_class", None)
    if of_class is None:
        return False
    if getattr(of_class, _MARK, False):
        return True
    names = {name.lower() for name in of_class.methods or ()} if method is None else {method.lower()}
    if "head" in names and not hasattr(of_class, "head"):
        names.add("get")
    functions = [getattr(of_class, name, None) for name in (*names, "dispatch_request")]
    return any(getattr(layer, _MARK, False) for function in functions for layer in layers(function))


def _name(view: Any) -> str:
    return getattr(view, "__qualname__", None) or repr(view)
