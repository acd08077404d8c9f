"""Flask-Limiter's API, awaited: ``Limiter``; and limits on how many requests are served at once."""

from __future__ import annotations

try:
    import limits  # noqa: F401
except ImportError as error:
    from ..errors import missing_extra

    raise missing_extra("decant.limiter", "limiter", error) from error

from limits.aio.strategies import STRATEGIES as _STRATEGIES

from ..faces import face as _face
from .constants import ExemptionScope, HeaderNames
from .definitions import ApplicationLimit, Limit, MetaLimit, RouteLimit
from .errors import ConcurrencyExceeded, RateLimitExceeded
from .extension import Limiter
from .request_limit import RequestLimit
from .storage import MemoryStorage as _MemoryStorage
from .storage import RedisStorage as _RedisStorage

__all__ = [
    "ApplicationLimit",
    "ConcurrencyExceeded",
    "ExemptionScope",
    "HeaderNames",
    "Limit",
    "Limiter",
    "MetaLimit",
    "RateLimitExceeded",
    "RequestLimit",
    "RouteLimit",
]

for _kind in (_MemoryStorage, _RedisStorage, *_STRATEGIES.values()):  # what `storage` and `limiter` are on a face
    _face(_kind)
