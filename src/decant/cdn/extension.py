"""``CDN``: Flask-CDN's extension."""

from __future__ import annotations

from typing import Any, Final

from ..context import current_app, current_request, on_quart
from .doors import AsgiDoor, WsgiDoor
from .index import Index, index_for, is_static
from .serving import static_view
from .urls import url_for

__all__ = ["CDN"]

_DEFAULTS: Final = {
    "CDN_DOMAIN": None,
    "CDN_HTTPS": None,
    "CDN_TIMESTAMP": True,
    "CDN_ENDPOINTS": ["static"],
    "CDN_COMPRESS": True,
    "CDN_FINGERPRINT": "content",
    "CDN_MEMORY": 32 * 1024 * 1024,
}


class CDN:
    """Addresses of static files at another host, with fingerprints, and files served for such a host to keep.

    Follows Flask-CDN 1.5. Configuration, which must be complete when ``init_app`` is called:

    - ``CDN_DOMAIN``: the host, ``None`` for the application's own addresses.
    - ``CDN_HTTPS``: whether its addresses begin with ``https``; ``None``: as the request's.
    - ``CDN_TIMESTAMP``: whether addresses have ``t=<fingerprint>``, ``True``.
    - ``CDN_DEBUG``: the framework's own addresses and views, by default in debug mode.
    - ``CDN_ENDPOINTS``: names of static endpoints, the application's and blueprints', ``["static"]``.
    - ``CDN_COMPRESS``: compress files of text when the application starts, ``True``. Compressed files beside the
      originals (``app.css.br``, ``app.css.gz``) that are not older are taken in any case.
    - ``CDN_FINGERPRINT``: what ``t`` is: ``"content"``, or ``"time"``, of the file's last change, as in Flask-CDN.
    - ``CDN_MEMORY``: how many bytes of files may be kept in memory, 32 MiB; others are sent from disk.

    What differs: ``t`` is of the content, not the time, so that all machines say the same; templates' ``url_for`` adds
    it without a domain, too; a blueprint's file is looked for in that blueprint's folder.

    :param app: initialised at once, if given.
    """

    def __init__(self, app: Any = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> None:
        """Set up a Quart or Flask application: its templates' ``url_for``, and the views of its static files.

        Files are read when Quart starts to serve; in Flask, and where a test serves nothing, when first needed. Called
        once more for the same application, it reads the configuration anew.

        :raises ConfigError: for a wrong value.
        """
        quarts = on_quart(app)
        for key, value in {**_DEFAULTS, "CDN_DEBUG": bool(app.debug)}.items():
            app.config.setdefault(key, value)
        index = index_for(app)
        app.extensions["cdn"] = self
        app.jinja_env.globals["url_for"] = url_for
        if index.settings.debug or index.serves:
            return
        index.serves = True
        if quarts:
            app.before_serving(_reader(app, index))
            app.before_request(_quart_replacer(app, index))
            app.asgi_app = AsgiDoor(app)
        else:
            app.before_request(_flask_replacer(index))
            app.wsgi_app = WsgiDoor(app)


def _reader(app: Any, index: Index) -> Any:
    async def read_static_files() -> None:
        await index.read(app)

    return read_static_files


def _replace(index: Index) -> None:
    """Put our view in place of a static endpoint's, at its first request: blueprints are registered by now."""
    app, request = current_app(), current_request()
    endpoint = request.endpoint
    if endpoint is None or not is_static(index.settings, endpoint) or [*(request.view_args or ())] != ["filename"]:
        return
    view = app.view_functions[endpoint]
    if not hasattr(view, "_decant_cdn") and index.folder_of(app, endpoint) is not None:
        ours: Any = static_view(app, index, endpoint, view)
        ours._decant_cdn = True
        app.view_functions[endpoint] = ours


def _quart_replacer(app: Any, index: Index) -> Any:
    async def replace_static_views() -> None:
        if not index.complete:  # a test's request to an application that does not serve
            await index.read(app)
        _replace(index)

    return replace_static_views


def _flask_replacer(index: Index) -> Any:
    def replace_static_views() -> None:
        _replace(index)

    return replace_static_views
