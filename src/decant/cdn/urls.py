"""``url_for``: the framework's, but static files have a fingerprint and may be at another host."""

from __future__ import annotations

import os
from typing import Any

from ..context import current_app, current_request, has_request
from .files import File
from .index import Index, index_of, is_static

__all__ = ["url_for"]

_UNSET: Any = object()


def url_for(endpoint: str, **values: Any) -> str:
    """The address of an endpoint; of a static file, at ``CDN_DOMAIN`` if there is one. Follows ``flask_cdn.url_for``.

    :param values: as the framework's own ``url_for``; ``_scheme`` wins over ``CDN_HTTPS``, and None leaves it out:
        ``//domain/…``.
    :raises KeyError: for a static file without ``filename``, if it is to have a fingerprint.
    :raises FileNotFoundError: for a static file that is not there, likewise.
    :raises RuntimeError: outside a context, or if the application has no ``CDN``.
    """
    app = current_app()
    index = index_of(app)
    request = current_request() if has_request() else None
    if endpoint.startswith("."):
        blueprint = request.blueprint if request is not None else None
        endpoint = f"{blueprint}{endpoint}" if blueprint else endpoint[1:]
    settings = index.settings
    if settings.debug or not is_static(settings, endpoint):
        return str(app.url_for(endpoint, **values))
    if settings.timestamp and (fingerprint := _fingerprint(app, index, endpoint, values)):
        values["t"] = fingerprint
    if settings.domain is None:
        return str(app.url_for(endpoint, **values))
    return _at_domain(app, settings, settings.domain, request, endpoint, values)


def _fingerprint(app: Any, index: Index, endpoint: str, values: dict[str, Any]) -> str | None:
    """None for a file that has been added since, as uploads are: it may change."""
    if "filename" not in values:
        raise KeyError(f"url_for({endpoint!r}) needs filename=, as CDN_TIMESTAMP is on")
    file = index.find(app, endpoint, values["filename"])
    if file is None and index.settings.fingerprint == "time":
        file = _beside(app, index, values["filename"])
    if file is not None:
        return index.mark(file)
    if not index.was_added(app, endpoint, values["filename"]):
        raise FileNotFoundError(f"there is no file {values['filename']!r} in {index.folder_of(app, endpoint)!r}")
    return None


def _beside(app: Any, index: Index, filename: str) -> File | None:
    """The file of that name in the static folder of the request's blueprint, where Flask-CDN looks."""
    blueprint = app.blueprints.get(current_request().blueprint) if has_request() else None
    return (
        index.find_in(os.fspath(blueprint.static_folder), filename) if blueprint and blueprint.static_folder else None
    )


def _at_domain(app: Any, settings: Any, domain: str, request: Any, endpoint: str, values: dict[str, Any]) -> str:
    scheme = values.pop("_scheme", _UNSET)
    if scheme is _UNSET:
        secure = settings.https
        if secure is None:
            secure = request.is_secure if request is not None else app.config["PREFERRED_URL_SCHEME"] == "https"
        scheme = "https" if secure else "http"
    values.pop("_external", None)
    anchor, method = values.pop("_anchor", None), values.pop("_method", None)
    app.inject_url_defaults(endpoint, values)
    adapter = app.url_map.bind(domain, url_scheme=scheme or "")
    url = adapter.build(endpoint, values, method=method, force_external=True)
    return f"{url}#{anchor}" if anchor else str(url)
