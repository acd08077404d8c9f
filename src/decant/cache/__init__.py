"""Flask-Caching's API, awaited: ``Cache`` over Redis, Memcached, memory or files."""

from __future__ import annotations

from ..errors import missing_extra

try:
    import msgspec  # noqa: F401
except ImportError as error:
    raise missing_extra("decant.cache", "cache", error) from error

import hashlib

from .extension import Cache
from .jinja2ext import JINJA_CACHE_ATTR_NAME, CacheExtension
from .responses import CachedResponse
from .serializers import MsgpackSerializer, PickleSerializer, Serializer
from .signals import cache_memoize_hit, cache_memoize_miss, cache_view_hit, cache_view_miss
from .utils import function_namespace, make_template_fragment_key

__all__ = [
    "JINJA_CACHE_ATTR_NAME",
    "SUPPORTED_HASH_FUNCTIONS",
    "Cache",
    "CacheExtension",
    "CachedResponse",
    "MsgpackSerializer",
    "PickleSerializer",
    "Serializer",
    "cache_memoize_hit",
    "cache_memoize_miss",
    "cache_view_hit",
    "cache_view_miss",
    "function_namespace",
    "make_template_fragment_key",
]

SUPPORTED_HASH_FUNCTIONS = [
    hashlib.sha1,
    hashlib.sha224,
    hashlib.sha256,
    hashlib.sha384,
    hashlib.sha512,
    hashlib.md5,
]
