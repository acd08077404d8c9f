"""Which limits and exemptions functions and blueprints have."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .constants import ExemptionScope
from .definitions import Limit, RuntimeLimit
from .settings import AppState
from .util import get_qualified_name

__all__ = ["Place", "Registry"]

logger = logging.getLogger("decant.limiter")
Found = tuple[list[RuntimeLimit], list[RuntimeLimit]]
"""Those of the application, which count once for each request, and those of a function or blueprint."""
_OWN = ~(ExemptionScope.DEFAULT | ExemptionScope.APPLICATION)


@dataclass(frozen=True)
class Place:
    """Where a request is going.

    :ivar endpoint: the request's identity, usually Flask's endpoint.
    :ivar blueprint: the dotted name of its blueprint.
    :ivar name: of the function that is about to be called.
    """

    app: Any
    endpoint: str
    blueprint: str | None
    method: str
    name: str


class Registry:
    """Follows Flask-Limiter's LimitManager: which limits override which, and what exemptions cover."""

    def __init__(self) -> None:
        self.functions: dict[str, list[Limit]] = {}
        self.blueprints: dict[str, list[Limit]] = {}
        self.function_exemptions: dict[str, ExemptionScope] = {}
        self.blueprint_exemptions: dict[str, ExemptionScope] = {}
        self.hints: dict[str, dict[str, None]] = {}

    def add(self, name: str, limit: Limit) -> None:
        """To a function."""
        limits = self.functions.setdefault(name, [])
        if limit not in limits:
            limits.append(limit)

    def add_to_blueprint(self, name: str, limit: Limit) -> None:
        limits = self.blueprints.setdefault(name, [])
        if limit not in limits:
            limits.append(limit)

    def hint(self, endpoint: str, name: str) -> None:
        """While this endpoint is served, that limited function is called, which is no view."""
        self.hints.setdefault(endpoint, {})[name] = None

    # -- before the view ------------------------------------------------------------------------------------------

    def is_limited(self, place: Place) -> bool:
        """Whether the view, or something that it calls, has limits of its own."""
        return place.name in self.functions or bool(self.hints.get(place.endpoint))

    async def before_view(self, state: AppState, place: Place) -> Found:
        """Application limits; and unless the view has limits of its own, the blueprint's and the default ones."""
        scope = self.exemption(place)
        found: list[RuntimeLimit] = []
        if not scope & ExemptionScope.APPLICATION:
            found += await _all(state.application_limits, state)
        limited = self.is_limited(place)
        inherited = [] if limited else await self.of_blueprint(state, place)
        wanted = not limited and not scope & ExemptionScope.DEFAULT and _let_defaults(inherited, place)
        if wanted or await self._hints_ask_for_defaults(state, place):
            found += await _all(state.default_limits, state)
        return found, inherited

    async def of_view(self, state: AppState, place: Place, limits: Sequence[Limit] | None = None) -> Found:
        """The function's own limits, the blueprint's unless those override them, and the default ones likewise.

        :param limits: its own, if they are not those that it was decorated with.
        """
        own = await self.of_function(state, place.name, limits)
        if all(not limit.override_defaults for limit in own):
            own += await self.of_blueprint(state, place)
        wanted = _let_defaults(own, place) and not self.exemption(place) & ExemptionScope.DEFAULT
        if wanted or await self._hints_ask_for_defaults(state, place):
            return await _all(state.default_limits, state), own
        return [], own

    async def _hints_ask_for_defaults(self, state: AppState, place: Place) -> bool:
        hinted: list[RuntimeLimit] = []
        for name in list(self.hints.get(place.endpoint, ())):
            hinted += await self.of_function(state, name)
        return bool(hinted) and all(not limit.override_defaults for limit in hinted)

    # -- functions and blueprints ---------------------------------------------------------------------------------

    async def of_function(
        self, state: AppState, name: str, limits: Sequence[Limit] | None = None
    ) -> list[RuntimeLimit]:
        if self.function_exemptions.get(name, ExemptionScope.NONE):
            return []
        limits = self.functions.get(name, ()) if limits is None else limits
        return await _readable(limits, state, f"function {name}")

    async def of_blueprint(self, state: AppState, place: Place) -> list[RuntimeLimit]:
        blueprint = place.app.blueprints.get(place.blueprint) if place.blueprint else None
        if blueprint is None:
            return []
        own, ancestors = self._blueprint_exemptions(place.app, place.blueprint or "")
        if own & _OWN:
            return []
        limits: Iterable[Limit] = self.blueprints.get(blueprint.name, ())
        overrides = bool(limits) and all(limit.override_defaults for limit in limits)
        cut_off = self.blueprint_exemptions.get(blueprint.name, ExemptionScope.NONE) & ExemptionScope.ANCESTORS
        if not overrides and not cut_off:
            family = [name for name in (place.blueprint or "").split(".") if name not in ancestors]
            limits = [limit for name in dict.fromkeys(family) for limit in self.blueprints.get(name, ())]
        return await _readable(limits, state, f"blueprint {blueprint.name}")

    # -- exemptions -----------------------------------------------------------------------------------------------

    def exemption(self, place: Place) -> ExemptionScope:
        """What a view and its blueprints are exempt from."""
        view = place.app.view_functions.get(place.endpoint)
        scope = self.function_exemptions.get(get_qualified_name(view), ExemptionScope.NONE) if view else None
        scope = scope or ExemptionScope.NONE
        if not place.blueprint or place.blueprint not in place.app.blueprints:
            return scope
        own, ancestors = self._blueprint_exemptions(place.app, place.blueprint)
        for inherited in ancestors.values():
            own |= inherited
        return scope | own

    def _blueprint_exemptions(self, app: Any, path: str) -> tuple[ExemptionScope, dict[str, ExemptionScope]]:
        """The blueprint's own, and those of its ancestors that reach down to it."""
        name = app.blueprints[path].name
        own = self.blueprint_exemptions.get(name, ExemptionScope.NONE) & ~ExemptionScope.ANCESTORS
        family = set(path.split("."))
        reaching = {
            member: scope
            for member, scope in self.blueprint_exemptions.items()
            if member in family and scope & ExemptionScope.DESCENDENTS
        }
        return own, reaching


def _let_defaults(limits: list[RuntimeLimit], place: Place) -> bool:
    """Whether the default limits apply beside these."""
    return all(limit.method_exempt(place.method) for limit in limits) or all(
        not limit.override_defaults for limit in limits
    )


async def _all(limits: Iterable[Limit], state: AppState) -> list[RuntimeLimit]:
    return [runtime for limit in limits for runtime in await limit.resolve(state.key_func)]


async def _readable(limits: Iterable[Limit], state: AppState, owner: str) -> list[RuntimeLimit]:
    """Those that can be read: a string that is no limit is logged, as Flask-Limiter does it, and does not count."""
    found: list[RuntimeLimit] = []
    for limit in list(limits):
        try:
            found += await limit.resolve(state.key_func)
        except ValueError as error:
            logger.error("failed to load ratelimit for %s: %s", owner, error)
    return found
