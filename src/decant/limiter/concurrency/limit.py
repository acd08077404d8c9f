"""``limiter.concurrency(…)``: on a view, a blueprint or an application."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import flask
import quart

from ...bridge import wait
from ...errors import ConfigError, Overloaded, Unavailable
from ...faces import called
from ...ops.registry import counter
from ..errors import ConcurrencyExceeded
from ..settings import AppState
from ..storage import RedisStorage
from ..util import get_qualified_name
from .shared import SharedSlots
from .slots import Full, Slots

if TYPE_CHECKING:
    from ..extension import Limiter

__all__ = ["ConcurrencyLimit"]

_refused: Final = counter("decant_limiter_concurrency_refused_total", "Requests without a slot", ("scope",))
Release = Callable[[], Any]


class Slot:
    """What is held within ``async with``, or ``with``."""

    def __init__(self, take: Callable[[], Coroutine[Any, Any, Release | None]]) -> None:
        self._take = take
        self._release: Release | None = None

    async def __aenter__(self) -> None:
        self._release = await self._take()

    async def __aexit__(self, *error: object) -> None:
        if self._release is not None and (pending := self._release()) is not None:
            await pending

    def __enter__(self) -> None:
        self._release = wait(self._take())

    def __exit__(self, *error: object) -> None:
        if self._release is not None and (pending := self._release()) is not None:
            wait(pending)


class ConcurrencyLimit:
    """A decorator of views, other functions, blueprints and applications, each of which has slots of its own.

    A view holds its slot until it returns; blueprints and applications hold it until the request is torn down.
    """

    def __init__(
        self,
        limiter: Limiter,
        limit: int,
        *,
        key_func: Callable[[], Any] | None,
        queue: int,
        wait_s: float,
        scope: str | None,
        exempt_when: Callable[[], Any] | None,
        across_processes: bool,
        lease_s: float,
        retry_after_s: int,
        on_storage_error: str,
    ) -> None:
        for name, value, least in (("limit", limit, 1), ("queue", queue, 0), ("retry_after_s", retry_after_s, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(name, value, f"a whole number, at least {least}")
        if wait_s < 0 or lease_s <= 0:
            raise ConfigError("wait_s, lease_s", (wait_s, lease_s), "seconds, not negative")
        if on_storage_error not in ("memory", "allow", "deny", "raise"):
            raise ConfigError("on_storage_error", on_storage_error, "one of 'memory', 'allow', 'deny', 'raise'")
        self._limiter, self.limit, self.key_func, self.queue, self.wait_s = limiter, limit, key_func, queue, wait_s
        self.scope, self.exempt_when, self.across_processes, self.lease_s = (
            scope,
            exempt_when,
            across_processes,
            lease_s,
        )
        self.retry_after_s, self.on_storage_error = retry_after_s, on_storage_error
        self._slots = Slots(limit, queue)
        self._shared: WeakKeyDictionary[Any, SharedSlots] = WeakKeyDictionary()

    # -- decorating -----------------------------------------------------------------------------------------------

    def __call__(self, obj: Any) -> Any:
        """Bound a function, which comes back bounded, or a blueprint or an application, in place."""
        if isinstance(obj, quart.Quart | flask.Flask | quart.Blueprint | flask.Blueprint):
            self._hook_into(obj, self.scope or obj.name)
            return obj
        name = self.scope or get_qualified_name(obj)
        if iscoroutinefunction(obj):

            @wraps(obj)
            async def bounded(*args: Any, **kwargs: Any) -> Any:
                async with self.slot(name):
                    return await obj(*args, **kwargs)
        else:

            @wraps(obj)
            def bounded(*args: Any, **kwargs: Any) -> Any:
                with self.slot(name):
                    return obj(*args, **kwargs)

        return bounded

    def slot(self, name: str = "slot") -> Slot:
        """Hold a slot within ``async with limit.slot("reports"):`` (``with`` in synchronous code), by itself those of
        one name.

        :raises ConcurrencyExceeded: on entering, if there is none.
        """
        return Slot(partial(self._take, name))

    def _hook_into(self, obj: Any, name: str) -> None:
        of_quart = isinstance(obj, quart.Quart | quart.Blueprint)
        mine = (self, name)  # a request may be in several of what this limit is on, as nested blueprints

        async def take() -> None:
            held = _held(of_quart)
            if mine not in held:
                release = await self._take(name)
                if release is not None:
                    held[mine] = release

        def give_back() -> Any:
            release = _held(of_quart).pop(mine, None)
            return None if release is None else release()

        if of_quart:

            async def give_back_async(error: BaseException | None) -> None:
                pending = give_back()
                if pending is not None:
                    await pending

            obj.before_request(take)
            obj.teardown_request(give_back_async)
            return

        def give_back_waiting(error: BaseException | None) -> None:
            pending = give_back()
            if pending is not None:
                wait(pending)

        obj.before_request(lambda: wait(take()))
        obj.teardown_request(give_back_waiting)

    # -- slots ----------------------------------------------------------------------------------------------------

    async def _take(self, name: str) -> Release | None:
        """Take a slot; what is returned gives it back, and returns what is to be awaited, if anything."""
        here = self._limiter.checks.here()
        if here is None or (self.exempt_when is not None and await called(self.exempt_when)):
            return None
        key = f"{name}:{await called(self.key_func)}" if self.key_func else name
        try:
            if not self.across_processes:
                return await self._take_own(key)
            return await self._take_shared(here.app, here.state, key)
        except Full:
            _refused.inc(scope=name)
            raise ConcurrencyExceeded(retry_after=self.retry_after_s) from None

    async def _take_own(self, key: str) -> Release:
        await self._slots.acquire(key, self.wait_s)
        return partial(self._slots.release, key)

    async def _take_shared(self, app: Any, state: AppState, key: str) -> Release | None:
        slots = self._shared.get(app)
        if slots is None:
            slots = self._shared[app] = self._open(state.storage)
        prefix = f"{state.key_prefix}/" if state.key_prefix else ""
        full_key = f"{state.storage.bridge.key_prefix}:CONCURRENCY/{prefix}{key}/{self.limit}"
        try:
            token = await slots.acquire(full_key, self.wait_s)
        except (Unavailable, Overloaded) as error:
            if self.on_storage_error == "raise":
                raise
            if self.on_storage_error == "deny":
                raise ConcurrencyExceeded(retry_after=error.retry_after_s) from error
            return await self._take_own(key) if self.on_storage_error == "memory" else None
        return partial(slots.release, full_key, token)

    def _open(self, storage: Any) -> SharedSlots:
        if not isinstance(storage, RedisStorage):
            raise ConfigError("across_processes", True, "needs Redis as the limiter's storage (RATELIMIT_STORAGE_URI)")
        return SharedSlots(storage.redis, self.limit, self.queue, self.lease_s)


def _held(of_quart: bool) -> dict[tuple[ConcurrencyLimit, str], Release]:
    """What gives back the slots that the request holds until it is torn down, whether the limiter is still enabled or
    not."""
    request: Any = quart.request if of_quart else flask.request
    held: dict[tuple[ConcurrencyLimit, str], Release] = vars(request._get_current_object()).setdefault(
        "_decant_slots", {}
    )
    return held
