"""``Limiter``: Flask-Limiter's extension, awaited.

Longer than other modules for the signatures of the constructor and of ``limit`` and ``shared_limit``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import flask
import quart
from limits.aio.strategies import STRATEGIES as LIMITS_STRATEGIES

from ..context import has_app, on_quart
from ..faces import faced, io_method
from ..warn import warn
from .checking import Checks
from .commands import cli
from .concurrency import ConcurrencyLimit
from .constants import ConfigVars, ExemptionScope, HeaderNames
from .definitions import Limit, OnStorageError, RouteLimit, Text
from .registry import Registry
from .request_limit import RequestContext, RequestLimit, context_of
from .settings import AppState, Options, Written, configure
from .storage import OtherStorage
from .util import get_qualified_name

__all__ = ["Limiter"]

_MARK = "__decant_limiters__"
_EXEMPT = ExemptionScope.APPLICATION | ExemptionScope.DEFAULT | ExemptionScope.META


class Limiter:
    """Rate limits for Quart applications, with Flask-Limiter 4's interface.

    Differences: all limits of a request are decided at once, and a denied request consumes none of them, unless
    ``denied_consumes``; functions given to it may be async; what a :class:`RequestLimit` tells came with the decision.

    :param key_func: returns who is limited, as :func:`~decant.limiter.util.get_remote_address` does.
    :param denied_consumes: count the limits of a denied request up to the one that is breached, as Flask-Limiter does.
        ``RATELIMIT_DENIED_CONSUMES``
    :param on_storage_error: ``"raise"`` its error, ``"allow"`` the request, ``"deny"`` it with 503, or count in this
        process's ``"memory"``. ``RATELIMIT_ON_STORAGE_ERROR``; by default what ``in_memory_fallback…`` and
        ``swallow_errors`` say.

    The other parameters are Flask-Limiter's; ``None`` leaves them to the configuration (``RATELIMIT_…``).

    :raises ConfigError: with ``app``: if a configuration value is wrong.
    """

    def __init__(
        self,
        first: Any = None,
        /,
        key_func: Callable[[], Any] | None = None,
        *,
        app: Any = None,
        default_limits: Sequence[Written] | None = None,
        default_limits_per_method: bool | None = None,
        default_limits_exempt_when: Callable[[], Any] | None = None,
        default_limits_deduct_when: Callable[[Any], Any] | None = None,
        default_limits_cost: int | Callable[[], Any] | None = None,
        application_limits: Sequence[Written] | None = None,
        application_limits_per_method: bool | None = None,
        application_limits_exempt_when: Callable[[], Any] | None = None,
        application_limits_deduct_when: Callable[[Any], Any] | None = None,
        application_limits_cost: int | Callable[[], Any] | None = None,
        headers_enabled: bool | None = None,
        header_name_mapping: dict[HeaderNames, str] | None = None,
        strategy: str | None = None,
        storage_uri: str | None = None,
        storage_options: dict[str, Any] | None = None,
        swallow_errors: bool | None = None,
        fail_on_first_breach: bool | None = None,
        on_breach: Callable[[RequestLimit], Any] | None = None,
        meta_limits: Sequence[Written] | None = None,
        on_meta_breach: Callable[[RequestLimit], Any] | None = None,
        in_memory_fallback: Sequence[Written] | None = None,
        in_memory_fallback_enabled: bool | None = None,
        retry_after: str | None = None,
        key_prefix: str = "",
        request_identifier: Callable[[], Any] | None = None,
        enabled: bool = True,
        denied_consumes: bool | None = None,
        on_storage_error: OnStorageError | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in Options.__dataclass_fields__}
        if isinstance(first, quart.Quart | flask.Flask):
            warn("Limiter(app, key_func=…) is the old form: write Limiter(key_func, app=app)", DeprecationWarning)
            app = first
        elif first is not None:
            given["key_func"] = first
        if not callable(given["key_func"]):
            raise TypeError("Limiter needs a key_func, as in Limiter(get_remote_address, app=app)")
        self.options = Options(**given)
        self.registry = Registry()
        self.logger = logging.getLogger("decant.limiter")
        self._enabled = enabled
        self.states: WeakKeyDictionary[Any, AppState] = WeakKeyDictionary()
        self.checks = Checks(self)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> None:
        """Limit a Quart or Flask application as its configuration says, which must be complete by now.

        :raises ConfigError: if a value is wrong; the text names the key.
        """
        self._enabled = bool(app.config.setdefault(ConfigVars.ENABLED, self._enabled))
        if not self._enabled:
            return
        self.states[app] = configure(self.options, app, enabled=True)
        limiters: set[Any] = app.extensions.setdefault("limiter", set())
        mine = self if on_quart(app) else faced(self)
        if mine in limiters:
            return
        limiters.add(mine)
        self.checks.hook_into(app)
        if "limiter" not in app.cli.commands:
            app.cli.add_command(cli)

    # -- the active application -----------------------------------------------------------------------------------

    def state(self) -> AppState:
        """The options of the current application; outside a context, of the only one.

        :raises RuntimeError: if there is none.
        """
        if has_app():
            candidates = [flask.current_app, quart.current_app] if flask.has_app_context() else [quart.current_app]
            for app in candidates:
                if app and (state := self.states.get(app._get_current_object())):  # type: ignore[attr-defined]
                    return state
        states = list(self.states.values())
        if len(states) != 1:
            raise RuntimeError("The current app is not registered with this limiter: call init_app first")
        return states[0]

    @property
    def enabled(self) -> bool:
        """Whether limits apply; may be set at any time, for all applications."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled = value
        for state in self.states.values():
            state.enabled = value

    @property
    def storage(self) -> Any:
        """The storage of the current application, of :mod:`limits.aio`."""
        return self.state().storage

    @property
    def limiter(self) -> Any:
        """The strategy of the current application, of :mod:`limits.aio`; on memory while it falls back to that."""
        state = self.state()
        falls_back = state.degraded and state.on_storage_error == "memory"
        storage = state.fallback if falls_back else state.storage
        kind: Any = LIMITS_STRATEGIES[state.strategy]
        return kind(storage.here if isinstance(storage, OtherStorage) else storage)

    def _context(self) -> RequestContext:
        here = self.checks.here()
        return RequestContext() if here is None else context_of(self, here.request)

    @property
    def current_limit(self) -> RequestLimit | None:
        """The limit of this request that is breached, else the one of the shortest time, if possible not shared."""
        return self._context().view_rate_limit

    @property
    def current_limits(self) -> list[RequestLimit]:
        """All limits of this request that were looked at, those of the shortest time first."""
        return self._context().view_rate_limits

    @io_method
    async def identify_request(self) -> str:
        """What stands for the endpoint in keys: ``request_identifier``'s answer, or the endpoint."""
        here = self.checks.here()
        return "" if here is None else await here.identity()

    @io_method
    async def reset(self) -> None:
        """Forget all counts, of the current application's storage."""
        state = self.state()
        try:
            await state.fallback.reset()
            await state.storage.reset()
        except NotImplementedError:
            self.logger.warning("This storage type does not support being reset")
        else:
            self.logger.info("Storage has been reset and all limits cleared")

    # -- decorators -----------------------------------------------------------------------------------------------

    def limit(
        self,
        limit_value: Text,
        *,
        key_func: Callable[[], Any] | None = None,
        per_method: bool = False,
        methods: list[str] | None = None,
        error_message: Text | None = None,
        exempt_when: Callable[[], Any] | None = None,
        override_defaults: bool = True,
        deduct_when: Callable[[Any], Any] | None = None,
        on_breach: Callable[[RequestLimit], Any] | None = None,
        cost: int | Callable[[], Any] = 1,
        scope: str | Callable[[str], Any] | None = None,
        meta_limits: Sequence[Written] | None = None,
        on_storage_error: OnStorageError | None = None,
    ) -> RouteLimit:
        """Limit a view, another function or a blueprint, or what is done within ``async with``.

        The parameters are those of :class:`Limit`; ``override_defaults=False`` keeps the default limits as well.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "limit_value", "key_func")}
        return RouteLimit(limit_provider=limit_value, key_function=key_func, limiter=self, **given)

    def shared_limit(
        self,
        limit_value: Text,
        scope: str | Callable[[str], Any],
        *,
        key_func: Callable[[], Any] | None = None,
        per_method: bool = False,
        methods: list[str] | None = None,
        error_message: Text | None = None,
        exempt_when: Callable[[], Any] | None = None,
        override_defaults: bool = True,
        deduct_when: Callable[[Any], Any] | None = None,
        on_breach: Callable[[RequestLimit], Any] | None = None,
        cost: int | Callable[[], Any] = 1,
        meta_limits: Sequence[Written] | None = None,
        on_storage_error: OnStorageError | None = None,
    ) -> RouteLimit:
        """As :meth:`limit`, counted together wherever the scope is the same."""
        given = {name: value for name, value in locals().items() if name not in ("self", "limit_value", "key_func")}
        return RouteLimit(limit_provider=limit_value, key_function=key_func, limiter=self, shared=True, **given)

    def exempt(self, obj: Any = None, *, flags: ExemptionScope = _EXEMPT) -> Any:
        """Take a view or a blueprint out of the limits that ``flags`` names; also as ``@limiter.exempt(flags=…)``."""
        if obj is None:

            def exempted(function: Any) -> Any:
                return self.exempt(function, flags=flags)

            return exempted
        if isinstance(obj, quart.Blueprint | flask.Blueprint):
            self.registry.blueprint_exemptions[obj.name] = flags
        else:
            self.registry.function_exemptions[get_qualified_name(obj)] = flags
        return obj

    def request_filter(self, fn: Callable[[], Any]) -> Callable[[], Any]:
        """A request for which ``fn`` returns something true is not limited at all."""
        self.checks.filters.append(fn)
        return fn

    def decorate(self, limit: Limit, obj: Any) -> Any:
        """What a :class:`RouteLimit` does to a function or a blueprint."""
        if isinstance(obj, quart.Blueprint | flask.Blueprint):
            self.registry.add_to_blueprint(obj.name, limit)
            return None
        name = get_qualified_name(obj)
        self.registry.add(name, limit)
        marks = getattr(obj, _MARK, ())
        if any(mark is self for mark in marks):  # the function checks its limits already, this one as well
            return obj
        wrapper = self.checks.wrapped(name, obj)
        setattr(wrapper, _MARK, (*marks, self))
        return wrapper

    def concurrency(
        self,
        limit: int,
        *,
        key_func: Callable[[], Any] | None = None,
        queue: int = 0,
        wait_s: float = 1.0,
        scope: str | None = None,
        exempt_when: Callable[[], Any] | None = None,
        across_processes: bool = False,
        lease_s: float = 10.0,
        retry_after_s: int = 1,
        on_storage_error: OnStorageError = "memory",
    ) -> ConcurrencyLimit:
        """Serve at most so many requests at once; the others wait, or are answered with 503 and ``Retry-After``.

        Decorates a view or another function, a blueprint, or an application. Not in Flask-Limiter.

        :param key_func: whose requests are counted together; by default all.
        :param queue: how many may wait, in each process.
        :param wait_s: how many seconds they wait at most.
        :param scope: a name to count by; by default that of what is decorated.
        :param exempt_when: returns whether a request needs no slot.
        :param across_processes: count in Redis, where a process that crashes loses its slots after ``lease_s`` seconds.
        :param retry_after_s: of the answer.
        :param on_storage_error: without Redis, count in this process (``"memory"``), ``"allow"``, ``"deny"`` or
            ``"raise"``.
        :raises ConfigError: if a number is wrong.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "limit")}
        return ConcurrencyLimit(self, limit, **given)
