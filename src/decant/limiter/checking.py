"""When limits are checked: before a view, when a limited function is called, and what its response is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

import flask
from werkzeug.exceptions import HTTPException

from ..bridge import wait
from ..context import current_app, current_request, has_request, in_flask_request, on_quart
from ..faces import called
from ..faces.values import hand
from .definitions import Limit, RuntimeLimit
from .enforcing import Enforcement, deduct
from .headers import add_headers
from .registry import Place
from .request_limit import RequestContext, context_of
from .settings import AppState
from .util import get_qualified_name

if TYPE_CHECKING:
    from .extension import Limiter

__all__ = ["Checks", "Here"]


class Here(NamedTuple):
    """The application that handles a request now, and that request."""

    app: Any
    request: Any
    state: AppState

    async def identity(self) -> str:
        """What stands for the endpoint in keys."""
        identifier = self.state.request_identifier
        return str(await called(identifier)) if identifier else self.request.endpoint or ""


class Checks:
    """The hooks and wrappers of one limiter."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.filters: list[Callable[[], Any]] = []
        self._known: WeakSet[Any] = WeakSet()  # our hooks and wrappers

    def here(self) -> Here | None:
        """Where we are; ``None`` if the application was not given to ``init_app``, or the limiter is disabled.

        Flask's comes first: Flask mounted in Quart handles its request within Quart's.

        :raises RuntimeError: outside a request, if the limiter has an application.
        """
        states = self.limiter.states
        if in_flask_request():
            app: Any = flask.current_app._get_current_object()  # type: ignore[attr-defined]
            if app in states:
                return self._found(app, flask.request._get_current_object())  # type: ignore[attr-defined]
        if not states and not has_request():
            return None
        request = current_request()
        return self._found(current_app(), request)

    def _found(self, app: Any, request: Any) -> Here | None:
        state = self.limiter.states.get(app)
        return Here(app, request, state) if state is not None and state.enabled else None

    # -- hooks ----------------------------------------------------------------------------------------------------

    def hook_into(self, app: Any) -> None:
        """Check each request of an application, and tell each response."""
        if on_quart(app):

            async def check_limits() -> None:
                await self._before()

            app.before_request(check_limits)
            app.before_websocket(check_limits)
            app.after_request(self._after)
        else:

            def check_limits() -> None:  # type: ignore[misc]
                wait(self._before())

            def tell_limits(response: Any) -> Any:
                here = self.here()
                if here is not None and context_of(self.limiter, here.request).conditional:
                    return wait(self._after(response))
                return self._tell(here, response)

            app.before_request(check_limits)
            app.after_request(tell_limits)
        self._known.add(check_limits)

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, limited: an async one stays async; a synchronous one waits where it runs."""
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

        self._known.add(limited)
        return limited

    # -- checks ---------------------------------------------------------------------------------------------------

    def _was_decided(self, name: str) -> bool:
        """Whether the limits of the function that is called now were decided before the view; true only once."""
        here = self.here()
        if here is None:
            return True
        context = context_of(self.limiter, here.request)
        decided = context.decided == name
        if decided:
            context.decided = None
        return decided

    async def enter(self, limit: Limit, name: str) -> None:
        """What a :class:`RouteLimit` does as a context manager."""
        if self.here() is not None:
            self.limiter.registry.functions[name] = [limit]  # for later requests to this endpoint: see Registry.hint
            await self._check(name, [limit])

    async def _before(self) -> None:
        """Before a view: what applies to all, and the view's own limits if nothing else comes before it."""
        here = self.here()
        if here is not None:
            await self._guarded(here, None)

    async def _check(self, name: str, limits: Sequence[Limit] | None = None) -> None:
        """Of a function that is about to be called, or of what a context manager stands for: of that the limits are
        given, since another request at the same place may have others."""
        here = self.here()
        if here is not None:
            await self._guarded(here, name, limits)

    async def _guarded(self, here: Here, name: str | None, limits: Sequence[Limit] | None = None) -> None:
        try:
            await self._limit(here, name, limits)
        except HTTPException:
            raise
        except Exception:
            if not here.state.swallow_errors:
                raise
            self.limiter.logger.exception("Failed to rate limit. Swallowing error")

    async def _limit(self, here: Here, name: str | None, limits: Sequence[Limit] | None) -> None:
        app, request, state = here
        endpoint = await here.identity()
        if await self._is_exempt(endpoint):
            return
        registry = self.limiter.registry
        view = app.view_functions.get(endpoint)
        view_name = get_qualified_name(view) if view else ""
        place = Place(app, endpoint, request.blueprint, request.method, name or view_name)
        context = context_of(self.limiter, request)
        if name is None:
            general, own = await registry.before_view(state, place)
            if self._decides_view(here, view):
                more, of_view = await registry.of_view(state, place)
                general, own, context.decided = [*general, *more], [*own, *of_view], view_name
        else:
            if view and name != view_name:
                registry.hint(endpoint, name)
            general, own = await registry.of_view(state, place, limits)
        new = _unseen(general, context)
        await Enforcement(self.limiter, state, context, place, request.endpoint or "").run([*new, *own])

    async def _is_exempt(self, endpoint: str) -> bool:
        if not endpoint or endpoint.rpartition(".")[2] == "static":
            return True
        for request_filter in self.filters:
            if await called(request_filter):
                return True
        return False

    def _decides_view(self, here: Here, view: Any) -> bool:
        """Whether the view's own limits can be decided with those before it, in one round trip: only if nothing that
        may set what their functions look at comes between, neither a hook nor another decorator."""
        app, request, _ = here
        if view is None or view is not app.view_functions.get(request.endpoint):
            return False
        if (view if on_quart(app) else hand(view)) not in self._known:
            return False
        rule: Any = request.url_rule
        if request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            return False  # answered without the view
        is_websocket = not hasattr(request, "get_data")
        hooks = app.before_websocket_funcs if is_websocket else app.before_request_funcs
        last = [hook for name in (None, *reversed(request.blueprints)) for hook in hooks.get(name, ())][-1:]
        return bool(last) and last[0] in self._known

    # -- responses ------------------------------------------------------------------------------------------------

    async def _after(self, response: Any) -> Any:
        here = self.here()
        if here is None:
            return response
        context = context_of(self.limiter, here.request)
        if context.conditional:
            try:
                await deduct(here.state, context, response)
            except Exception:
                if not here.state.swallow_errors:
                    raise
                self.limiter.logger.exception("Failed to deduct rate limit. Swallowing error")
        return self._tell(here, response)

    def _tell(self, here: Here | None, response: Any) -> Any:
        if here is not None and here.state.headers:
            shown = context_of(self.limiter, here.request).view_rate_limit
            if shown is not None:
                add_headers(response, shown, here.state.headers, here.state.retry_after)
        return response


def _unseen(limits: Iterable[RuntimeLimit], context: RequestContext) -> list[RuntimeLimit]:
    """Those that no earlier check of this request has counted."""
    new: list[RuntimeLimit] = []
    for limit in limits:
        if limit not in context.seen:
            context.seen.append(limit)
            new.append(limit)
    return new
