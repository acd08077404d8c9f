"""``GET /<slug>``, the hot path: one round trip to Redis on a hit, and never a wait for the database."""

from __future__ import annotations

from .service import Redirects, changing
from .views import init_redirects, redirects

__all__ = ["Redirects", "changing", "init_redirects", "redirects"]
