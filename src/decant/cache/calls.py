"""One call of a cached or memoized function: look, compute once, store, and serve what is stale meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from copy import copy
from dataclasses import dataclass, field
from inspect import isgenerator
from typing import TYPE_CHECKING, Any, ClassVar, Final

import quart

from ..faces import called
from .backends.reports import logger, once_a_minute
from .entries import Entry
from .responses import Uncacheable, is_response
from .state import LOOKUPS, State
from .utils import Timeout, join_generator, normalize_timeout, wants_args, wants_extra_args

if TYPE_CHECKING:
    from .extension import Cache

__all__ = ["Call", "Rules"]

Function = Callable[..., Any]
_MISS: Final = object()
_FUNCTIONS: Final = (
    "unless", "forced_update", "is_stale", "response_filter", "make_cache_key", "make_name", "hash_method"
)  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What ``cached`` and ``memoize`` have in common; see there."""

    unless: Function | None = None
    forced_update: Function | None = None
    is_stale: Function | None = None
    response_filter: Function | None = None
    cache_none: bool = False
    single_flight: bool | None = None
    stale_while_revalidate: Timeout | None = None
    jitter: float | None = None
    tags: str | Sequence[str] | Function | None = None

    def __post_init__(self) -> None:
        """Say what is wrong where it is written, not in a request."""
        for name in _FUNCTIONS:
            given = getattr(self, name, None)
            if given and not callable(given):
                raise TypeError(f"{name}={given!r}: a function is needed")
        if self.jitter is not None and not 0 <= self.jitter <= 0.9:
            raise ValueError(f"jitter={self.jitter!r}: a share from 0 to 0.9 is needed")
        normalize_timeout(self.stale_while_revalidate)


@dataclass
class Call:
    """One call.

    :ivar timeout: the function's own, ``None`` for the default.
    :ivar key: where the value is; set by :meth:`find_key`.
    :ivar down: whether the cache has failed during this call, which then asks it no more.
    """

    kind: ClassVar[str]
    cache: Cache
    state: State
    app: Any
    f: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    rules: Rules
    timeout: Timeout | None
    key: str = ""
    tags: Sequence[str] = ()
    down: bool = False
    entry: Entry | None = field(default=None, init=False)
    refreshes: bool = field(default=False, init=False)
    was_hit: bool = field(default=False, init=False)
    was_stale: bool = field(default=False, init=False)

    # -- what differs between views and functions --------------------------------------------------------------

    async def find_key(self) -> str:
        """Where the value of this call is kept."""
        raise NotImplementedError

    async def bypassed(self) -> bool:
        """Whether the cache is to be left alone."""
        return await self._asked(self.rules.unless, self.f, *self.args, **self.kwargs)

    async def compute(self) -> Any:
        """Call the function; generators are joined."""
        value = await self.state.call(self.app, self.f, self.args, self.kwargs)
        return await joined(value)

    def filtered(self, value: Any) -> Any:
        """What ``response_filter`` is given."""
        return value

    async def packed(self, value: Any) -> tuple[Any, float | None]:
        """What is stored for a value, and the seconds that it asks for.

        :raises Uncacheable: if it must not be stored.
        """
        return value, None

    async def finished(self, value: Any, *, stored: bool) -> Any:
        """What the caller gets for what was computed or found."""
        return value

    async def announced(self, hit: bool) -> None:
        """Tell the signals' receivers."""
        raise NotImplementedError

    async def after_storing(self, timeout_s: float) -> None:
        """What else is written with a value."""

    # -- the way of a call -------------------------------------------------------------------------------------

    async def run(self) -> Any:
        """The value, from the cache or computed."""
        if await self.bypassed():
            LOOKUPS.inc(kind=self.kind, result="bypass")
            return await self.finished(await self.compute(), stored=False)
        forced = False
        value: Any = _MISS
        try:
            self.key = await self.find_key()
            self.tags = await self._find_tags()
            forced = await self._asked(self.rules.forced_update, *self.args, **self.kwargs)
            if not forced:
                value = await self.lookup(self.cache)
        except Exception as error:
            self.failed(error)
            return await self.finished(await self.compute(), stored=False)
        self.was_hit = value is not _MISS
        if self.was_hit and self.app.debug:
            logger.info("Cache used for key: %s", self.key)
        LOOKUPS.inc(kind=self.kind, result="miss" if value is _MISS else "stale" if self._is_past() else "hit")
        if self.state.settings.enable_signals:
            await self.announced(value is not _MISS)
        if value is _MISS:
            return await self.missed(forced)
        if self._is_past():
            value = await self._revalidated(value)
        return await self.finished(value, stored=True)

    async def _asked(self, function: Function | None, *args: Any, **kwargs: Any) -> bool:
        """A user's question about a call, which may take its arguments or none; only ``True`` counts."""
        if not callable(function):  # as for Flask-Caching, False is none
            return False
        given = (args, kwargs) if wants_args(function) else ((), {})
        return await called(function, *given[0], **given[1]) is True

    async def _find_tags(self) -> Sequence[str]:
        tags = self.rules.tags
        if callable(tags):
            tags = await called(tags, *self.args, **self.kwargs) if wants_args(tags) else await called(tags)
        return [tags] if isinstance(tags, str) else list(tags or ())

    def failed(self, error: Exception) -> None:
        self.down = not isinstance(error, TypeError)  # which says that a value cannot be encoded
        self.state.failed(self.app, error)

    def _is_past(self) -> bool:
        return self.entry is not None and self.entry.left_s(time.time()) <= 0

    async def lookup(self, place: Any) -> Any:
        """What is stored, or ``_MISS``; ``self.entry`` has its dates, if it has some."""
        self.entry = None
        versions: Mapping[str, str | None] = {}
        if self.tags:
            value, versions = await asyncio.gather(place.get(self.key), self.state.tag_versions(self.tags))
        else:
            value = await place.get(self.key)
        if value is None and not (self.rules.cache_none and await place.has(self.key)):
            return _MISS
        if isinstance(value, Entry):
            if dict(value.tags) != versions or None in versions.values():
                return _MISS
            if value.left_s(time.time()) <= 0 and not self.rules.stale_while_revalidate:
                return _MISS
            self.entry, value = value, value.value
        elif self.tags:
            return _MISS
        return _MISS if await self._is_stale(value) else value

    async def _is_stale(self, value: Any) -> bool:
        function = self.rules.is_stale
        if not callable(function):
            return False
        value = await self.shown(value)
        more = (self.args, self.kwargs) if wants_extra_args(function) else ((), {})
        self.was_stale = await called(function, value, *more[0], **more[1]) is True
        return self.was_stale

    async def shown(self, value: Any) -> Any:
        """What a user's function is shown of what is stored."""
        return value

    async def _there(self) -> bool:
        if self.was_stale:  # just now: the user's function is not asked about the same value twice
            self.was_stale = False
            return False
        return await self.lookup(self.state.backend) is not _MISS

    # -- misses ------------------------------------------------------------------------------------------------

    async def missed(self, forced: bool) -> Any:
        """Compute, or let the one compute who does already."""
        flights, rules = self.state.flights, self.rules
        single = self.state.settings.single_flight if rules.single_flight is None else rules.single_flight
        if forced or not single or not self.state.backend.stores:
            return await self.filled()
        if flights.passes(self.key) or flights.is_within(self.key):
            return await self.filled()
        while (leader := flights.here().get(self.key)) is not None:
            await asyncio.wait([leader])
            if not leader.cancelled() and not leader.result():
                return await self.filled()
            value = await self._found()
            if value is not _MISS:
                return await self.finished(value, stored=True)
            if not leader.cancelled():
                return await self.filled()
        with flights.lead(self.key) as future:
            return await self._led(future)

    async def _led(self, future: asyncio.Future[bool]) -> Any:
        async with AsyncExitStack() as stack:
            try:
                turn = await stack.enter_async_context(self.state.flights.alone(self.key, self._there))
            except Exception as error:
                future.set_result(False)
                self.failed(error)
                return await self.finished(await self.compute(), stored=False)
            if not turn.mine and (value := await self._found()) is not _MISS:
                future.set_result(True)
                return await self.finished(value, stored=True)
            try:
                value, is_stored = await self.fill()
            except Exception:
                future.set_result(False)
                raise
            future.set_result(is_stored)
            turn.give_back = not self.down
            if not (is_stored or self.down):
                self.state.flights.pass_by(self.key)
        return await self.finished(value, stored=is_stored)

    async def _found(self) -> Any:
        if self.down:
            return _MISS
        try:
            return await self.lookup(self.cache)
        except Exception as error:
            self.failed(error)
            return _MISS

    async def filled(self) -> Any:
        """Compute and store, without asking whether another does."""
        value, stored = await self.fill()
        return await self.finished(value, stored=stored)

    async def fill(self) -> tuple[Any, bool]:
        """Compute and store; what was computed, in the form in which it was stored if it was."""
        versions: Mapping[str, str | None] = {}
        try:
            if self.tags and not self.down:
                versions = await self.state.made_versions(self.tags)  # before it is computed: see State.invalidate
        except Exception as error:
            self.failed(error)
        value = await self.compute()
        if self.down or not await self._wanted(value):
            return value, False
        try:
            packed, asked_s = await self.packed(value)
        except Uncacheable:
            return value, False
        return packed, await self._store(packed, asked_s, versions)

    async def _wanted(self, value: Any) -> bool:
        if value is None and not self.rules.cache_none:
            return False
        function = self.rules.response_filter
        return not callable(function) or bool(await called(function, self.filtered(value)))

    async def _store(self, value: Any, asked_s: float | None, versions: Mapping[str, str | None]) -> bool:
        fresh_s = self.state.timeout_s(asked_s or self.timeout, self.rules.jitter)
        grace_s = normalize_timeout(self.rules.stale_while_revalidate) or 0
        keep_s = fresh_s + grace_s if fresh_s else 0
        self.entry = Entry(value, time.time(), fresh_s, dict(versions))
        try:
            stored = self.entry if self.needs_entry() else value
            await self.cache.set(self.key, stored, timeout=keep_s)
            await self.after_storing(keep_s)
        except Exception as error:
            self.failed(error)
            return False
        return True

    def needs_entry(self) -> bool:
        """Whether more than the value must be stored; what is stored without, Flask-Caching can read."""
        return bool(self.tags or self.rules.stale_while_revalidate)

    # -- stale values ------------------------------------------------------------------------------------------

    async def _revalidated(self, value: Any) -> Any:
        """A stale value, while one caller computes a new one: in the background, in Flask the caller itself."""
        flights = self.state.flights
        if self.key in flights.here():
            return value
        if self.state.of_quart:
            refresh: Any = copy(self)._refresh
            if quart.has_request_context():
                refresh = quart.copy_current_request_context(refresh)
            self.app.add_background_task(refresh, flights.begun(self.key))
            return value
        fresh = await self._refresh(flights.begun(self.key))
        return value if fresh is _MISS else fresh

    async def _refresh(self, future: asyncio.Future[bool]) -> Any:
        self.refreshes = True
        with self.state.flights.lead(self.key, future):
            try:
                async with self.state.flights.alone(self.key) as turn:
                    if not turn.mine:
                        return _MISS
                    value, stored = await self.fill()
                    future.set_result(stored)
                    return value if stored else _MISS
            except Exception as error:
                if once_a_minute("refresh", self.state.said):
                    logger.exception("A stale value stays, since computing a new one failed: %s", error)
                return _MISS


async def joined(value: Any) -> Any:
    """What a generator gives, joined, or the value itself."""
    if isgenerator(value):
        return join_generator(value)
    if hasattr(type(value), "__anext__") and not is_response(value):
        return join_generator([item async for item in value])
    return value
