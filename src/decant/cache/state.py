"""What a cache knows of one application."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blinker import NamedSignal

from ..context import on_quart
from ..errors import Unavailable
from ..faces import called
from ..ops.registry import counter
from .backends.reports import FAILED, logger, once_a_minute
from .flight import Flights
from .settings import Settings
from .utils import Timeout, normalize_timeout

__all__ = ["LOOKUPS", "State"]

LOOKUPS = counter("decant_cache_lookups", "Calls of cached functions", ("kind", "result"))
_TAG = "_decant_tag_"


class State:
    """One application's backend and settings, and the computations that are under way in it."""

    def __init__(self, app: Any, settings: Settings, backend: Any, shown: Any) -> None:
        self.settings, self.backend, self.shown = settings, backend, shown
        self.flights = Flights(backend, settings.lock_timeout_s)
        self.of_quart = on_quart(app)
        self.said: dict[str, float] = {}  # for once_a_minute: another application is heard of its own troubles

    async def aclose(self) -> None:
        """Close what belongs to the running loop."""
        await self.flights.settled()
        await self.backend.aclose()

    def failed(self, app: Any, error: Exception) -> None:
        """The cache failed: log it, once a minute, and let the caller compute. In debug mode it is raised."""
        FAILED.inc(reason=type(error).__name__)
        if app is not None and app.debug:
            raise error
        if once_a_minute(type(error).__name__, self.said):
            away = isinstance(error, Unavailable)  # then the traceback, which is always the same, says nothing more
            logger.error("Exception possibly due to cache backend. %s", error, exc_info=None if away else error)

    async def call(self, app: Any, f: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Call a user's function where it belongs: in Quart a synchronous one in a thread."""
        if self.of_quart:
            return await called(app.ensure_async(f), *args, **kwargs)
        return await called(f, *args, **kwargs)

    async def send(self, signal: NamedSignal, **kwargs: Any) -> None:
        """Send a signal with this cache, as its users know it; receivers may be ``async``."""
        await signal.send_async(None, _sync_wrapper=_awaitable, cache=self.shown, **kwargs)

    def timeout_s(self, timeout: Timeout | None, jitter: float | None) -> float:
        """How long a value is fresh, in seconds, 0 for ever; with jitter a little less, so that not all end at once."""
        seconds = normalize_timeout(timeout)
        seconds = self.settings.default_timeout_s if seconds is None else seconds
        share = self.settings.jitter if jitter is None else jitter
        return seconds * (1 - random.random() * share)

    async def tag_versions(self, tags: Sequence[str]) -> dict[str, str | None]:
        """The version of each tag; ``None`` if it has none."""
        return dict(zip(tags, await self.backend.get_many(*[_TAG + tag for tag in tags]), strict=True))

    async def made_versions(self, tags: Sequence[str]) -> dict[str, str | None]:
        """The version of each tag, made if it has none."""
        if not tags:
            return {}
        found = await self.tag_versions(tags)
        missing = [tag for tag, version in found.items() if version is None]
        for tag in missing:
            await self.backend.add(_TAG + tag, _version(), self.settings.tag_timeout_s)
        if missing:
            found |= await self.tag_versions(missing)
        return found

    async def invalidate(self, tags: tuple[str, ...]) -> None:
        """Give each tag a new version: what was stored, or began to be computed, with another is gone."""
        await self.backend.set_many({_TAG + tag: _version() for tag in tags}, self.settings.tag_timeout_s)


def _awaitable(receiver: Any) -> Any:
    async def received(*args: Any, **kwargs: Any) -> Any:
        return receiver(*args, **kwargs)

    return received


def _version() -> str:
    return f"{random.getrandbits(64):016x}"
