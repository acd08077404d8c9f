"""Redis for an application: one client per app, loop and URL; pooled, pipelined by itself, bounded in time."""

from __future__ import annotations

from ..errors import missing_extra

try:
    import redis.asyncio  # noqa: F401
except ImportError as error:
    raise missing_extra("decant.redis", "redis", error) from error

from .apps import client
from .around import Pipeline, PubSub
from .breaker import Breaker
from .core import Redis
from .options import Options, masked
from .script import Script

__all__ = ["Breaker", "Options", "Pipeline", "PubSub", "Redis", "Script", "client", "masked"]
