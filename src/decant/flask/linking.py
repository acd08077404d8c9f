"""``url_for`` across both halves: what one cannot build, the other is asked for.

By ``url_build_error_handlers``, which both frameworks call with ``(error, endpoint, values)`` before they raise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Final
from urllib.parse import quote

import flask
import quart
from werkzeug.routing import BuildError, MapAdapter

__all__ = ["link_halves"]

_SAFE: Final = "%!#$&'()*+,/:;=?@"  # in an anchor, as Flask and Quart have it


def link_halves(quart_app: Any, flask_app: flask.Flask, at: str | None) -> None:
    """Let each half build URLs for the other's endpoints; one that neither has is still a ``BuildError``."""
    prefix = at or ""

    def flask_url(error: Exception, endpoint: str, values: dict[str, Any]) -> Any:
        adapter = _from_quart(flask_app, prefix)
        if adapter is None:
            return None
        in_request = quart.has_request_context() or quart.has_websocket_context()
        return _built(flask_app, adapter, endpoint, values, in_request)

    def quart_url(error: Exception, endpoint: str, values: dict[str, Any]) -> Any:
        adapter = _from_flask(quart_app, prefix)
        if adapter is None:
            return None
        return _built(quart_app, adapter, endpoint, values, flask.has_request_context())

    quart_app.url_build_error_handlers.append(flask_url)
    flask_app.url_build_error_handlers.append(quart_url)
    for app in (quart_app, flask_app):
        vars(app)["inject_url_defaults"] = _for_its_own(app)


def _for_its_own(app: Any) -> Callable[[str, dict[str, Any]], None]:
    """``url_defaults`` functions are asked for the application's own endpoints.

    Those of the other half they do not know: ``url_map.is_endpoint_expecting(endpoint, …)``, which Flask's
    documentation has them call, raises ``KeyError`` for these; and what they would add is not for its rules.
    """
    inject: Callable[[str, dict[str, Any]], None] = app.inject_url_defaults

    @wraps(inject)
    def inject_url_defaults(endpoint: str, values: dict[str, Any]) -> None:
        if _has(app, endpoint):
            inject(endpoint, values)

    return inject_url_defaults


def _has(app: Any, endpoint: str) -> bool:
    with suppress(KeyError):
        return any(True for _ in app.url_map.iter_rules(endpoint))
    return False


def _from_quart(flask_app: flask.Flask, prefix: str) -> MapAdapter | None:
    """For Flask's URLs, as Quart's current request has the host; outside of one by ``SERVER_NAME``."""
    request: Any = None
    if quart.has_request_context():
        request = quart.request
    elif quart.has_websocket_context():
        request = quart.websocket
    if request is None:
        adapter = flask_app.create_url_adapter(None)
        if adapter is not None and prefix:
            adapter.script_name = f"{prefix}/"
        return adapter
    scheme = {"ws": "http", "wss": "https"}.get(request.scheme, request.scheme)
    return _bound(flask_app, request.host, request.root_path.rstrip("/") + prefix, scheme)


def _from_flask(quart_app: Any, prefix: str) -> MapAdapter | None:
    """For Quart's URLs, the other way."""
    if not flask.has_request_context():
        found: MapAdapter | None = quart_app.create_url_adapter(None)
        return found
    request = flask.request
    return _bound(quart_app, request.host, request.script_root.rstrip("/").removesuffix(prefix), request.scheme)


def _bound(app: Any, host: str, root: str, scheme: str) -> MapAdapter:
    subdomain, server = app.url_map.default_subdomain, app.config["SERVER_NAME"]
    if app.url_map.host_matching:
        subdomain = None
    elif app.subdomain_matching and server and f".{host}".endswith(f".{server}"):
        host, subdomain = server, host.removesuffix(server).rstrip(".")
    adapter: MapAdapter = app.url_map.bind(host, root or None, subdomain, url_scheme=scheme)
    return adapter


def _built(app: Any, adapter: MapAdapter, endpoint: str, given: dict[str, Any], in_request: bool) -> str | None:
    values = dict(given)
    anchor, method = values.pop("_anchor", None), values.pop("_method", None)
    scheme, external = values.pop("_scheme", None), values.pop("_external", None)
    if not _has(app, endpoint):
        return None
    with suppress(RuntimeError, AttributeError, LookupError):  # what needs a context of its own application, as its g
        app.inject_url_defaults(endpoint, values)
    external = (not in_request or scheme is not None) if external is None else bool(external)
    try:
        url = adapter.build(endpoint, values, method=method, url_scheme=scheme, force_external=external)
    except BuildError:
        return None
    return url if anchor is None else f"{url}#{quote(anchor, safe=_SAFE)}"
