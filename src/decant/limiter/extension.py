"""``Limiter``: Flask-Limiter's extension, awaited.

Longer than other modules for the signatures of the constructor and of ``limit`` and ``shared_limit``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import flask
import quart
from limits.aio.strategies import STRATEGIES as LIMITS_STRATEGIES
from werkzeug.exceptions import HTTPException

from ..bridge import wait
from ..context import current_app, current_request, has_app, has_request, on_quart
from ..faces import called, faced, io_method
from ..faces.values import hand
from .constants import ConfigVars, ExemptionScope, HeaderNames
from .definitions import Limit, OnStorageError, RouteLimit, RuntimeLimit, Text
from .enforcing import Enforcement, deduct
from .headers import add_headers
from .registry import Place, Registry
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
            warnings.warn(
                "Limiter(app, key_func=…) is the old form: write Limiter(key_func, app=app)",
                DeprecationWarning,
                stacklevel=2,
            )
            app = first
        elif first is not None:
            given["key_func"] = first
        if not callable(given["key_func"]):
            raise TypeError("Limiter needs a key_func, as in Limiter(get_remote_address, app=app)")
        self.options = Options(**given)
        self.registry = Registry()
        self.logger = logging.getLogger("decant.limiter")
        self._enabled = enabled
        self._states: WeakKeyDictionary[Any, AppState] = WeakKeyDictionary()
        self._filters: list[Callable[[], Any]] = []
        self._wrappers: WeakSet[Any] = WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> None:
        """Limit a Quart or Flask application as its configuration says, which must be complete by now.

        :raises ConfigError: if a value is wrong; the text names the key.
        """
        self._enabled = bool(app.config.setdefault(ConfigVars.ENABLED, self._enabled))
        if not self._enabled:
            return
        self._states[app] = configure(self.options, app, enabled=True)
        limiters: set[Any] = app.extensions.setdefault("limiter", set())
        mine = self if on_quart(app) else faced(self)
        if mine in limiters:
            return
        limiters.add(mine)
        if on_quart(app):
            self._hook_into_quart(app)
        else:
            self._hook_into_flask(app)
        from .commands import cli

        if "limiter" not in app.cli.commands:
            app.cli.add_command(cli)

    def _hook_into_quart(self, app: Any) -> None:
        async def check_limits() -> None:
            await self._before()

        async def tell_limits(response: Any) -> Any:
            return await self._after(response)

        app.before_request(check_limits)
        app.before_websocket(check_limits)
        app.after_request(tell_limits)
        self._wrappers.add(check_limits)

    def _hook_into_flask(self, app: Any) -> None:
        def check_limits() -> None:
            wait(self._before())

        def tell_limits(response: Any) -> Any:
            if context_of(self, flask.request._get_current_object()).conditional:  # type: ignore[attr-defined]
                return wait(self._after(response))
            return self._tell(response)

        app.before_request(check_limits)
        app.after_request(tell_limits)
        self._wrappers.add(check_limits)

    # -- the active application -----------------------------------------------------------------------------------

    def _here(self) -> tuple[Any, Any, AppState] | None:
        """The application, its request and its state; ``None`` if it was not given to ``init_app``, or is disabled.

        Flask's comes first: Flask mounted in Quart handles its request within Quart's.
        """
        if flask.has_request_context():
            app: Any = flask.current_app._get_current_object()  # type: ignore[attr-defined]
            state = self._states.get(app)
            if state is not None:
                return (app, flask.request._get_current_object(), state) if state.enabled else None  # type: ignore[attr-defined]
        if not has_request() and not self._states:
            return None
        request = current_request()
        app = current_app()
        state = self._states.get(app)
        return None if state is None or not state.enabled else (app, request, state)

    def state(self) -> AppState:
        """The options of the current application; outside a context, of the only one.

        :raises RuntimeError: if there is none.
        """
        if has_app():
            candidates = [flask.current_app, quart.current_app] if flask.has_app_context() else [quart.current_app]
            for app in candidates:
                if app and (state := self._states.get(app._get_current_object())):  # type: ignore[attr-defined]
                    return state
        states = list(self._states.values())
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
        for state in self._states.values():
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
        here = self._here()
        return RequestContext() if here is None else context_of(self, here[1])

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
        here = self._here()
        return "" if here is None else await self._identity(here[1], here[2])

    @staticmethod
    async def _identity(request: Any, state: AppState) -> str:
        identifier = state.request_identifier
        return str(await called(identifier)) if identifier else request.endpoint or ""

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
        self._filters.append(fn)
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
        wrapper = self._wrapped(name, obj)
        setattr(wrapper, _MARK, (*marks, self))
        self._wrappers.add(wrapper)
        return wrapper

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Async functions stay async; synchronous ones wait where they run."""
        if iscoroutinefunction(function):

            @wraps(function)
            async def limited(*args: Any, **kwargs: Any) -> Any:
                if not self._was_decided(name):
                    await self._check(name)
                return await function(*args, **kwargs)
        else:

            @wraps(function)
            def limited(*args: Any, **kwargs: Any) -> Any:
                if not self._was_decided(name):
                    wait(self._check(name))
                return function(*args, **kwargs)

        return limited

    # -- checks ---------------------------------------------------------------------------------------------------

    def _was_decided(self, name: str) -> bool:
        """Whether the limits of the function that is called now were decided before the view; true only once."""
        here = self._here()
        if here is None:
            return True
        context = context_of(self, here[1])
        decided, context.decided = context.decided == name, None
        return decided

    async def enter(self, limit: Limit, name: str) -> None:
        """What a :class:`RouteLimit` does as a context manager."""
        if self._here() is not None:
            self.registry.functions[name] = [limit]
            await self._check(name)

    async def _before(self) -> None:
        """Before a view: what applies to all, and the view's own limits if nothing else comes before it."""
        here = self._here()
        if here is not None:
            await self._guarded(*here, None)

    async def _check(self, name: str) -> None:
        """Of a function that is about to be called, or of what a context manager stands for."""
        here = self._here()
        if here is not None:
            await self._guarded(*here, name)

    async def _guarded(self, app: Any, request: Any, state: AppState, name: str | None) -> None:
        try:
            await self._limit(app, request, state, name)
        except HTTPException:
            raise
        except Exception:
            if not state.swallow_errors:
                raise
            self.logger.exception("Failed to rate limit. Swallowing error")

    async def _limit(self, app: Any, request: Any, state: AppState, name: str | None) -> None:
        endpoint = await self._identity(request, state)
        if await self._is_exempt(endpoint):
            return
        view = app.view_functions.get(endpoint)
        view_name = get_qualified_name(view) if view else ""
        place = Place(app, endpoint, request.blueprint, request.method, name or view_name)
        context = context_of(self, request)
        if name is None:
            general, own = await self.registry.before_view(state, place)
            if self._decides_view(app, request, view):
                more, of_view = await self.registry.of_view(state, place)
                general, own, context.decided = [*general, *more], [*own, *of_view], view_name
        else:
            if view and name != view_name:
                self.registry.hint(endpoint, name)
            general, own = await self.registry.of_view(state, place)
        new = _unseen(general, context)
        await Enforcement(self, state, context, place, request.endpoint or "").run([*new, *own])

    async def _is_exempt(self, endpoint: str) -> bool:
        if not endpoint or endpoint.rpartition(".")[2] == "static":
            return True
        for request_filter in self._filters:
            if await called(request_filter):
                return True
        return False

    def _decides_view(self, app: Any, request: Any, view: Any) -> bool:
        """Whether the view's own limits can be decided with those before it, in one round trip: only if nothing that
        may set what their functions look at comes between, neither a hook nor another decorator."""
        plain = view if on_quart(app) else hand(view)
        if view is None or plain not in self._wrappers:
            return False
        rule: Any = request.url_rule
        if request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            return False  # answered without the view
        hooks = app.before_request_funcs if hasattr(request, "get_data") else app.before_websocket_funcs
        last = [hook for name in (None, *reversed(request.blueprints)) for hook in hooks.get(name, ())][-1:]
        return bool(last) and last[0] in self._wrappers

    # -- responses ------------------------------------------------------------------------------------------------

    async def _after(self, response: Any) -> Any:
        here = self._here()
        if here is None:
            return response
        _, request, state = here
        context = context_of(self, request)
        if context.conditional:
            try:
                await deduct(state, context, response)
            except Exception:
                if not state.swallow_errors:
                    raise
                self.logger.exception("Failed to deduct rate limit. Swallowing error")
        return self._tell(response)

    def _tell(self, response: Any) -> Any:
        here = self._here()
        if here is not None and here[2].headers:
            shown = context_of(self, here[1]).view_rate_limit
            if shown is not None:
                add_headers(response, shown, here[2].headers, here[2].retry_after)
        return response


def _unseen(limits: Iterable[RuntimeLimit], context: RequestContext) -> list[RuntimeLimit]:
    """Those that no earlier check of this request has counted."""
    new: list[RuntimeLimit] = []
    for limit in limits:
        if limit not in context.seen:
            context.seen.append(limit)
            new.append(limit)
    return new
