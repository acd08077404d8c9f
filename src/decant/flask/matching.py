"""Which half answers: the rules of both applications, compared as if they stood in one URL map.

Werkzeug matches; what is added is the choice where a path fits a rule of each half: the more specific rule wins, by
Werkzeug's own order (literal parts before converters, converters by their ``weight``), and Quart's of two that are
equally specific. So ``/<slug>`` can be moved to Quart while ``/login`` is still Flask's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import quart
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter, RequestRedirect, Rule

__all__ = ["FLASK", "QUART", "Decision", "Half", "HalfName", "Matcher", "below", "shape", "specificity"]

QUART: Final = "quart"
FLASK: Final = "flask"
HalfName = Literal["quart", "flask"]
Scope = MutableMapping[str, Any]
Key = tuple[tuple[Any, ...], ...]
_ARGUMENT: Final = re.compile(r"<(?:(?P<converter>[a-zA-Z_]\w*)(?P<options>\([^)]*\))?:)?[a-zA-Z_]\w*>")
_PIECE: Final = re.compile(r"/|<\w+>|[^/<]+")
_PREFLIGHT: Final = b"access-control-request-method"


def below(scope: Scope) -> str:
    """The path of a scope below its ``root_path``, which ASGI leaves at its beginning."""
    path, root = scope["path"] or "/", scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :] or "/"
    return str(path)


def specificity(rule: Rule) -> Key:
    """Sorts before that of every less specific rule: Werkzeug's ``Weighting`` of each part, literal ones first."""
    assert rule.map is not None
    simple = _ARGUMENT.sub(lambda match: f"<{match['converter'] or 'default'}>", rule.rule)
    parts: list[tuple[list[int], list[int]]] = [([], [])]
    to_its_end = False  # a converter that takes slashes: the rest is one part
    for piece in _PIECE.findall(simple):
        texts, weights = parts[-1]
        if piece == "/":
            parts += [] if to_its_end else [([], [])]
        elif piece.startswith("<"):
            converter = rule.map.converters.get(piece[1:-1])
            weights.append(getattr(converter, "weight", 100))
            to_its_end = to_its_end or not getattr(converter, "part_isolating", True)
        else:
            texts.append(-len(piece))
    return tuple((1, -len(texts), texts, -len(weights), weights) if weights else (0,) for texts, weights in parts)


def shape(rule: Rule) -> str:
    """The rule without the names of its arguments: equal where two rules match the same paths."""
    return (
        _ARGUMENT.sub(lambda match: f"<{match['converter'] or ''}{match['options'] or ''}>", rule.rule)
        .replace("<string>", "<>")
        .replace("<default>", "<>")
    )


@dataclass
class Match:
    """What one half has for a path: a rule, a redirect (to a rule, if that is known), or a rule for other methods."""

    rule: Rule | None = None
    arguments: Mapping[str, Any] | None = None
    redirects: bool = False

    @property
    def routes(self) -> bool:
        return self.rule is not None or self.redirects


_REDIRECT: Final = Match(redirects=True)
_OTHER_METHOD: Final = Match()


class Half:
    """The routes of one application.

    :param app: a ``quart.Quart`` or a ``flask.Flask``, whose routes may still be added.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self._shared: MapAdapter | None = None
        self._keys: dict[str, Key] = {}

    def find(self, scope: Scope, path: str, method: str, websocket: bool) -> Match | None:
        """What the half has for a request; ``None``: nothing."""
        try:
            adapter = self.adapter(scope, path)
            rule, arguments = adapter.match(path, method, return_rule=True, websocket=websocket)
        except MethodNotAllowed:
            return _OTHER_METHOD
        except RequestRedirect:
            return self._redirect(adapter, path, method, websocket)
        except (HTTPException, UnicodeError):  # NotFound, WebsocketMismatch, or a host that cannot be read
            return None
        return Match(rule, arguments)

    def _redirect(self, adapter: MapAdapter, path: str, method: str, websocket: bool) -> Match:
        """With the rule, where a slash is missing: there Werkzeug redirects before it tries less specific rules."""
        try:
            rule, arguments = adapter.match(f"{path}/", method, return_rule=True, websocket=websocket)
        except HTTPException:
            return _REDIRECT
        return Match(rule, arguments, redirects=True)

    def methods(self, scope: Scope, path: str) -> Iterable[str]:
        """The methods that the half routes for a path."""
        try:
            return self.adapter(scope, path).allowed_methods(path)
        except (HTTPException, UnicodeError):
            return ()

    def specificity(self, rule: Rule) -> Key:
        key = self._keys.get(rule.rule)
        if key is None:
            key = self._keys[rule.rule] = specificity(rule)
        return key

    def adapter(self, scope: Scope, path: str) -> MapAdapter:
        """The same one for all requests, unless the application's routes depend on the host."""
        app = self.app
        if app.url_map.host_matching or app.subdomain_matching:
            return self._of_host(scope, path)
        if self._shared is None:
            self._shared = app.url_map.bind("localhost", subdomain=app.url_map.default_subdomain)
        return self._shared

    def _of_host(self, scope: Scope, path: str) -> MapAdapter:
        headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
        app: Any = self.app
        if isinstance(self.app, quart.Quart):
            request: Any = app.request_class(
                "GET", scope["scheme"], path, b"", headers, "", "1.1", scope, send_push_promise=_no_push
            )
        else:
            host, port = scope.get("server") or ("localhost", None)
            request = app.request_class(
                {
                    "HTTP_HOST": headers.get("host", host),
                    "PATH_INFO": "/",
                    "QUERY_STRING": "",
                    "REQUEST_METHOD": "GET",
                    "SCRIPT_NAME": "",
                    "SERVER_NAME": host,
                    "SERVER_PORT": str(port or 80),
                    "wsgi.url_scheme": {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"]),
                }
            )
        adapter: MapAdapter | None = app.create_url_adapter(request)
        if adapter is None:
            raise NotFound
        return adapter


async def _no_push(path: str, headers: Headers) -> None:
    """Nothing is pushed while a half is chosen."""


@dataclass(frozen=True)
class Decision:
    """Who answers. ``file``: Flask instead, if it alone has the static file of this name in Quart's matched rule."""

    half: HalfName
    merges: bool = False
    file: tuple[str, str, str] | None = None


_QUARTS: Final = Decision(QUART)
_FLASKS: Final = Decision(FLASK)
_QUARTS_MERGED: Final = Decision(QUART, merges=True)
_FLASKS_MERGED: Final = Decision(FLASK, merges=True)


class Matcher:
    """Chooses the half.

    :param at: the prefix that Flask lives under; ``None``: both have the same root.
    :param unrouted: who answers what neither routes.
    """

    def __init__(self, ours: Half, theirs: Half, at: str | None, unrouted: HalfName) -> None:
        self.ours, self.theirs, self.at, self.unrouted = ours, theirs, at, unrouted

    def decide(self, scope: Scope) -> Decision:
        """For an ``http`` or ``websocket`` scope."""
        path = below(scope)
        if self.at is not None:
            return _FLASKS if path == self.at or path.startswith(f"{self.at}/") else _QUARTS
        websocket = scope["type"] == "websocket"
        method = "GET" if websocket else scope["method"]
        asks = method == "OPTIONS"
        if asks:  # a preflight request is for whom the request after it will be for
            given = next((value for name, value in scope["headers"] if name == _PREFLIGHT), None)
            method = given.decode("latin-1").upper() if given else method
        ours = self.ours.find(scope, path, method, websocket)
        if ours is None:
            return self._not_ours(scope, path, method, websocket)
        if ours.rule is not None and not ours.rule.arguments and not ours.redirects and not asks:
            return _QUARTS
        return self._choose(ours, self.theirs.find(scope, path, method, websocket), asks)

    def _not_ours(self, scope: Scope, path: str, method: str, websocket: bool) -> Decision:
        if self.unrouted == FLASK or self.theirs.find(scope, path, method, websocket) is not None:
            return _FLASKS
        return _QUARTS

    def _choose(self, ours: Match, theirs: Match | None, asks: bool) -> Decision:
        if theirs is None:
            return _QUARTS
        if not theirs.routes:
            return _QUARTS if ours.routes and not asks else _QUARTS_MERGED
        if ours.rule is None and (theirs.rule is not None or not ours.redirects):
            return _FLASKS_MERGED if asks else _FLASKS
        if ours.rule is not None and theirs.rule is not None:
            mine, yours = self.ours.specificity(ours.rule), self.theirs.specificity(theirs.rule)
            if yours < mine:
                return _FLASKS_MERGED if asks else _FLASKS
            if yours == mine and not asks and (file := self._static(ours, theirs)):
                return Decision(QUART, file=file)
        return _QUARTS_MERGED if asks else _QUARTS

    def _static(self, ours: Match, theirs: Match) -> tuple[str, str, str] | None:
        """Quart's folder, Flask's and the name of a file, where both rules are those of static files."""
        folders = [_static_folder(half.app, match.rule) for half, match in ((self.ours, ours), (self.theirs, theirs))]
        name = (ours.arguments or {}).get("filename")
        if folders[0] and folders[1] and isinstance(name, str):
            return folders[0], folders[1], name
        return None


def _static_folder(app: Any, rule: Rule | None) -> str | None:
    endpoint = str(rule.endpoint) if rule is not None else ""
    if endpoint == "static":
        return str(app.static_folder) if app.has_static_folder else None
    blueprint = app.blueprints.get(endpoint.removesuffix(".static")) if endpoint.endswith(".static") else None
    return str(blueprint.static_folder) if blueprint is not None and blueprint.has_static_folder else None
