"""``flask_cdn``: Flask-CDN's names over :mod:`decant.cdn`, which serves Flask as it is, and its addresses."""

from __future__ import annotations

from typing import Any, Final

from ... import cdn
from .table import Module

__all__ = ["CDN", "MODULES"]


class CDN(cdn.CDN):
    """:class:`decant.cdn.CDN` whose addresses have the time of a file's last change, as Flask-CDN's, unless
    ``CDN_FINGERPRINT`` says otherwise: so processes that still run Flask-CDN give the same.
    """

    def init_app(self, app: Any) -> None:
        """As :meth:`decant.cdn.CDN.init_app`."""
        app.config.setdefault("CDN_FINGERPRINT", "time")
        super().init_app(app)


MODULES: Final = {"flask_cdn": Module({"CDN": CDN, "url_for": cdn.url_for})}
