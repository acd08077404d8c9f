"""A pytest plugin: our stores wait for their servers for ten seconds, not for a quarter of one, on a busy machine."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

from decant.cache.backends.memcached import MemcachedCache
from decant.redis import Options

for kind in (MemcachedCache, Options):
    made: Any = kind.__init__
    kind.__init__ = partialmethod(made, deadline_s=10.0)  # type: ignore[method-assign]
