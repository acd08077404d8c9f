"""The routes of an application: of which half each is, and where its view runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import flask
import quart
from werkzeug.routing import Rule

from ..quart.handlers import iscoroutinefunction
from .marks import Blocking
from .matching import FLASK, QUART, HalfName, shape
from .mounting import MOUNTED, Mounted
from .shim import Asgi

__all__ = ["Hits", "Route", "list_routes"]

Hits = Mapping[tuple[str, str, str], float]
"""How often ``(half, endpoint, method)`` was asked for."""
_ON_LOOP = "decant_on_loop"
Place = Callable[[str, set[str]], str]


@dataclass(frozen=True)
class Route:
    """One rule of one half.

    :ivar methods: sorted; without HEAD and OPTIONS where the framework answers these; ``["WEBSOCKET"]``.
    :ivar place: where its view runs, ``"loop"``, ``"thread"``, or ``"loop, thread"`` by the method.
    :ivar hidden: it is never asked, because the other half has all its methods.
    :ivar hits: requests to its endpoint with its methods, if they are known.
    """

    rule: str
    methods: list[str]
    endpoint: str
    half: HalfName
    place: str
    hidden: bool = False
    hits: int | None = None


def list_routes(app: Any, views: str = "threads", hits: Hits | None = None) -> list[Route]:
    """The routes of a ``flask.Flask`` or its shim, a ``quart.Quart``, or a mounted application, sorted by rule.

    :param views: where the views of a Flask application that is not mounted run.
    :raises TypeError: if it is something else.
    """
    if isinstance(app, Asgi):
        app, views = app.app, app.views
    app = app.quart if isinstance(app, Mounted) else app
    if isinstance(app, flask.Flask):
        found = _of_flask(app, views, "", {})
    elif isinstance(app, quart.Quart):
        found = _of_both(app)
    else:
        raise TypeError(f"it is {app!r}, neither a Flask nor a Quart application")
    routes = [_with_hits(route, of, hits) for route, of in found]
    return sorted(routes, key=lambda route: (route.rule, route.methods, route.half))


def _of_both(app: quart.Quart) -> list[tuple[Route, Rule]]:
    mounted: Mounted | None = app.extensions.get(MOUNTED)
    at = mounted.at if mounted is not None else None
    taken: dict[Any, set[str]] = {}
    found = []
    for rule in app.url_map.iter_rules():
        methods = _methods(rule)
        if not str(rule.endpoint).endswith("static"):  # which is Flask's too, file by file
            taken.setdefault(_key(rule), set()).update(methods)
        hidden = at is not None and (rule.rule == at or rule.rule.startswith(f"{at}/"))
        place = _place_in_quart(app)(str(rule.endpoint), methods)
        found.append((_route(rule, rule.rule, methods, QUART, place, hidden), rule))
    if mounted is not None:
        found += _of_flask(mounted.flask, mounted.asgi.views, at or "", {} if at else taken)
    return found


def _of_flask(app: flask.Flask, views: str, prefix: str, taken: Mapping[Any, set[str]]) -> list[tuple[Route, Rule]]:
    place, found = _place_in_flask(app, views), []
    for rule in app.url_map.iter_rules():
        methods = _methods(rule)
        left = methods - taken.get(_key(rule), set())
        runs = place(str(rule.endpoint), methods)
        found.append((_route(rule, prefix + rule.rule, left or methods, FLASK, runs, not left), rule))
    return found


def _key(rule: Rule) -> Any:
    return rule.subdomain, rule.host, rule.websocket, shape(rule)


def _methods(rule: Rule) -> set[str]:
    if rule.websocket:
        return {"WEBSOCKET"}
    methods = set(rule.methods or ("GET",))
    automatic = {"OPTIONS"} if getattr(rule, "provide_automatic_options", True) else set()
    return (methods - automatic - ({"HEAD"} if "GET" in methods else set())) or methods


def _route(rule: Rule, path: str, methods: Iterable[str], half: HalfName, place: str, hidden: bool) -> Route:
    where = rule.host or (f"{rule.subdomain}." if rule.subdomain else "")
    return Route(f"{where}{path}", sorted(methods), str(rule.endpoint), half, place, hidden)


def _with_hits(route: Route, rule: Rule, hits: Hits | None) -> Route:
    if hits is None:
        return route
    methods = {"WEBSOCKET"} if rule.websocket else set(route.methods) | {"HEAD", "OPTIONS"}
    return replace(route, hits=int(sum(hits.get((route.half, route.endpoint, method), 0) for method in methods)))


def _place_in_quart(app: Any) -> Place:
    on_loop = app.config.get("SYNC_HANDLERS") == "loop"

    def place(endpoint: str, methods: set[str]) -> str:
        view = app.view_functions.get(endpoint)
        return "loop" if on_loop or iscoroutinefunction(view) or getattr(view, _ON_LOOP, False) else "thread"

    return place


def _place_in_flask(app: flask.Flask, views: str) -> Place:
    blocking = Blocking(app)

    def place(endpoint: str, methods: set[str]) -> str:
        found = {"thread" if views == "threads" or (endpoint, method) in blocking else "loop" for method in methods}
        return ", ".join(sorted(found))

    return place
