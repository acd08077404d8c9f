"""Sent for each call of a cached or memoized function, if ``CACHE_ENABLE_SIGNALS``. Receivers may be ``async``.

Keyword arguments, as in Flask-Caching: ``cache``, ``cache_key``, ``args``, ``kwargs``, and ``f`` for memoized ones.
"""

from __future__ import annotations

from blinker import Namespace

__all__ = ["cache_memoize_hit", "cache_memoize_miss", "cache_view_hit", "cache_view_miss"]

_signals = Namespace()

cache_view_hit = _signals.signal("decant-cache-view-hit")
cache_view_miss = _signals.signal("decant-cache-view-miss")
cache_memoize_hit = _signals.signal("decant-cache-memoize-hit")
cache_memoize_miss = _signals.signal("decant-cache-memoize-miss")
