"""Listens on Redis channels, and comes back after every loss of the connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from .claims import CONNECTION_ERRORS

__all__ = ["Ears"]

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_SILENCE_S: Final = 5.0
logger = logging.getLogger("decant.worker")


class Ears:
    """One subscription for several channels, each with a handler that gets a message's bytes and must not block.

    After 5 s without a message the server is asked for a sign of life, and without one the connection is made anew,
    so that a half-open or frozen one is not listened to for ever. Messages that are sent meanwhile are lost:
    whoever listens looks for itself from time to time too.
    """

    def __init__(self, redis: Any, handlers: Mapping[str, Callable[[bytes], None]]) -> None:
        self._redis = redis
        self._handlers = {channel.encode(): handler for channel, handler in handlers.items()}
        self.subscribed = asyncio.Event()

    async def listen(self, on_subscribed: Callable[[], None] = lambda: None) -> None:
        """Listen until cancelled; ``on_subscribed`` is called after each time that messages may have been missed."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(*self._handlers)
                    while await self._heard(pubsub, on_subscribed):
                        pause_s = _FIRST_PAUSE_S
                logger.warning("Redis was silent for too long: its channels are subscribed to again")
            except CONNECTION_ERRORS as error:
                logger.debug("Redis is not listened to for %.1f s: %s: %s", pause_s, type(error).__name__, error)
            self.subscribed.clear()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _heard(self, pubsub: Any, on_subscribed: Callable[[], None]) -> bool:
        message = await pubsub.get_message(timeout=_SILENCE_S)
        if message is None:
            await pubsub.ping()
            message = await pubsub.get_message(timeout=_SILENCE_S)
        if message is None:
            return False
        if message["type"] == "message":
            with suppress(KeyError):
                self._handlers[message["channel"]](message["data"])
        elif message["type"] == "subscribe":
            self.subscribed.set()
            on_subscribed()
        return True
