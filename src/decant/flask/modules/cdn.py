"""``flask_cdn``: Flask-CDN's names over :mod:`decant.cdn`, which serves Flask as it is."""

from __future__ import annotations

from typing import Final

from ...cdn import CDN, url_for
from .table import Module

__all__ = ["MODULES"]

MODULES: Final = {"flask_cdn": Module({"CDN": CDN, "url_for": url_for})}
