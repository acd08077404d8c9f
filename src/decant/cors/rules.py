"""The rules of one application: which options hold for a request, and the answer to a preflight request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from .headers import ALLOW_ORIGIN, REQUEST_METHOD, headers_for
from .options import CONFIG_KEYS, Options, Pattern, matches, merged, read

__all__ = ["PASSAGE", "VIEW_MARK", "Passage", "Resources", "Rules", "options_of", "view_options"]

VIEW_MARK: Final = "_decant_cors"
"""The attribute of a view with the options of its ``cross_origin``."""
PASSAGE: Final = "decant.cors"
"""The key of the :class:`Passage` in the ASGI scope or WSGI environment."""

_of_views: WeakKeyDictionary[Any, dict[int, tuple[tuple[Any, ...], Mapping[str, Any], Options]]] = WeakKeyDictionary()


@dataclass
class Passage:
    """What the hooks of one request tell the door that it came through."""

    evaluated: bool = False


@dataclass(frozen=True)
class Resources:
    """The paths of one ``CORS``, in the order in which they are tried; ``intercepts`` errors that pass no hook."""

    patterns: list[tuple[Pattern, Options]]
    intercepts: bool

    def options(self, path: str) -> Options | None:
        path = unquote(path)
        return next((options for pattern, options in self.patterns if matches(path, pattern, fold=False)), None)


@dataclass
class Rules:
    """Each ``CORS`` of an application and of its blueprints; the one made last comes first."""

    of_app: list[Resources] = field(default_factory=list)
    of_blueprints: dict[str, list[Resources]] = field(default_factory=dict)

    def preflight(self, app: Any, request: Any) -> Headers | None:
        """The headers of the answer to a preflight request, or None where the application has to answer it.

        That is: where no rule fits the path, the path does not exist, or ``automatic_options`` is off.
        """
        try:
            adapter = app.create_url_adapter(request)
            allowed = list(adapter.allowed_methods())
        except HTTPException:  # a host that is not trusted, a query that is not UTF-8
            return None
        answer: Headers | None = None
        for options in self._options(app, request, adapter) if allowed else ():
            if not options.automatic_options:
                return None
            answer = headers_for(options, request.headers, "OPTIONS")
            if ALLOW_ORIGIN in answer:
                break
        if answer is not None:
            answer.set("Allow", ", ".join(sorted(allowed)))
        return answer

    def _options(self, app: Any, request: Any, adapter: Any) -> Iterator[Options]:
        """A view's own options, that of the method which is asked for first; else its blueprints', then the app's."""
        endpoints = list(_endpoints(adapter, request.headers.get(REQUEST_METHOD, "").upper(), "OPTIONS"))
        for endpoint in endpoints:
            options = view_options(app, endpoint)
            if options is not None:
                yield options
                return
        names = endpoints[-1].split(".")[:-1] if endpoints else []
        for length in range(len(names), 0, -1):
            yield from _found(self.of_blueprints.get(".".join(names[:length]), []), request.path)
        yield from _found(self.of_app, request.path)

    def missed(self, path: str) -> Iterator[Options]:
        """Options for a response that the application's hooks have not seen."""
        yield from _found([resources for resources in self.of_app if resources.intercepts], path)


def _found(resources: list[Resources], path: str) -> Iterator[Options]:
    for one in reversed(resources):
        options = one.options(path)
        if options is not None:
            yield options


def _endpoints(adapter: Any, *methods: str) -> Iterator[str]:
    for method in methods:
        try:
            yield adapter.match(method=method)[0]
        except HTTPException:
            continue


def view_options(app: Any, endpoint: str | None) -> Options | None:
    """The options of ``cross_origin`` on the view of an endpoint, completed from ``app.config``; None without it."""
    view = app.view_functions.get(endpoint)
    given = getattr(view, VIEW_MARK, None)
    return None if given is None else options_of(app, given)


def options_of(app: Any, given: Mapping[str, Any]) -> Options:
    """A decorator's options, read once for each state of the application's configuration."""
    config = tuple(map(app.config.get, CONFIG_KEYS))
    known = _of_views.setdefault(app, {})
    entry = known.get(id(given))
    if entry is None or entry[0] != config:
        entry = known[id(given)] = (config, given, read(merged(app.config, given)))
    return entry[2]
