"""Flask-CDN for Quart and Flask: addresses of static files at another host, and their fingerprints.

``CDN(app)`` also serves the files so that caches may keep them for ever: ``immutable`` where the address carries the
fingerprint, compressed beforehand, from memory.
"""

from __future__ import annotations

from .extension import CDN
from .urls import url_for

__all__ = ["CDN", "url_for"]
