"""A pytest plugin: our stores keep time by cachelib's clock, which Flask-Caching's tests move.

Its fixture ``clock`` replaces ``time`` in cachelib's modules, where the originals of our stores look for it.
"""

from __future__ import annotations

from functools import partialmethod
from typing import Any

import cachelib.file
import cachelib.simple

from decant.cache.backends import file, memory

for store, module in ((memory.SimpleCache, cachelib.simple), (file.FileSystemCache, cachelib.file)):
    made: Any = store.__init__
    store.__init__ = partialmethod(made, clock=lambda module=module: module.time())  # type: ignore[method-assign]
