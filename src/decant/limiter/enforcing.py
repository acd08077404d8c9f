"""Deciding a request's limits: one question to the storage, and what follows from the answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from limits.errors import StorageError
from redis.exceptions import RedisClusterException, RedisError
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.sansio.response import Response

from ..errors import Overloaded, Unavailable
from ..faces import called
from ..ops.registry import counter
from .constants import ExemptionScope
from .definitions import RuntimeLimit
from .errors import RateLimitExceeded
from .registry import Place
from .request_limit import RequestContext, RequestLimit
from .settings import AppState
from .storage import Answer, Claim, Decision, Role

if TYPE_CHECKING:
    from .extension import Limiter

__all__ = ["Enforcement", "deduct", "is_away"]

logger = logging.getLogger("decant.limiter")
_decisions: Final = counter("decant_limiter_decisions_total", "Requests whose limits were decided", ("outcome",))
_failures: Final = counter("decant_limiter_storage_failures_total", "Decisions that the storage did not answer")
_ERRORS: Final = (Unavailable, Overloaded, RedisError, RedisClusterException, StorageError, OSError)
Asked = tuple[RuntimeLimit, Claim]


def is_away(error: Exception, storage: Any) -> bool:
    """Whether an error says that the storage did not answer as it should."""
    return isinstance(error, (_ERRORS, storage.base_exceptions))


def _note(state: AppState, error: Exception | None) -> None:
    """Once when the storage goes away, once when it is back."""
    if error is not None:
        _failures.inc()
        if not state.degraded:
            logger.warning("Rate limit storage unreachable: %s", error)
    elif state.degraded:
        logger.info("Rate limit storage recovered")
    state.degraded = error is not None


class Enforcement:
    """Of one request, at one point of it."""

    def __init__(self, limiter: Limiter, state: AppState, context: RequestContext, place: Place, endpoint: str) -> None:
        self.limiter, self.state, self.context, self.place = limiter, state, context, place
        self.request_endpoint = endpoint
        self.storage: Any = state.storage

    async def run(self, limits: Iterable[RuntimeLimit]) -> None:
        """Decide, and note it for the headers and for ``current_limits``.

        :raises RateLimitExceeded: if one is breached.
        """
        asked = [asked for limit in sorted(limits, key=lambda x: x.limit) if (asked := await self._asked(limit))]
        metas = await self._metas(asked)
        if not asked and not metas:
            return
        try:
            decision = await self._decide(self.storage, asked, metas)
        except Exception as error:
            if not is_away(error, self.storage):
                raise
            _note(self.state, error)
            asked, metas = await self._without_storage(asked, error)
            self.storage = self.state.fallback
            decision = await self._decide(self.storage, asked, metas)
        else:
            if self.state.degraded:
                _note(self.state, None)
        await self._follow(asked, metas, decision)

    # -- the question ---------------------------------------------------------------------------------------------

    async def _asked(self, limit: RuntimeLimit) -> Asked | None:
        if limit.method_exempt(self.place.method) or await limit.is_exempt():
            return None
        scope = await limit.scope_for(self.place.endpoint, self.request_endpoint, self.place.method)
        key = await called(limit.key_func)
        if not key or not scope:
            logger.error("Skipping limit: %s. Empty value found in parameters.", limit.limit)
            return None
        prefix = (self.state.key_prefix,) if self.state.key_prefix else ()
        role: Role = "test" if limit.deduct_when else "hit"
        return limit, Claim(limit.limit, (*prefix, str(key), str(scope)), await limit.deduction(), role)

    async def _metas(self, asked: Sequence[Asked]) -> list[Asked]:
        """Meta limits of the application, and of the limits."""
        found = [(-1, meta) for limit in self.state.meta_limits for meta in await limit.resolve(self.state.key_func)]
        found += [(i, meta) for i, (limit, _) in enumerate(asked) for meta in limit.meta_limits]
        if not found or self.limiter.registry.exemption(self.place) & ExemptionScope.META:
            return []
        made: list[Asked] = []
        for owner, meta in found:
            if not await meta.is_exempt():
                scope = await meta.scope_for(self.place.endpoint, self.request_endpoint, self.place.method)
                args = (str(await called(meta.key_func)), scope)
                made.append((meta, Claim(meta.limit, args, await meta.deduction(), "meta", owner)))
        return made

    async def _decide(self, storage: Any, asked: Sequence[Asked], metas: Sequence[Asked]) -> Decision:
        claims = [claim for _, claim in (*asked, *metas)]
        if not self.state.denied_consumes:
            claims += [
                replace(claim, role="refund", stamp=stamp)
                for where, claim, stamp in self.context.consumed
                if where is storage
            ]
        state = self.state
        decision: Decision = await storage.decide(
            claims, state.strategy, stops=state.fail_on_first_breach, consumes=state.denied_consumes
        )
        return decision

    async def _without_storage(self, asked: Sequence[Asked], error: Exception) -> tuple[list[Asked], list[Asked]]:
        """What is to be counted in memory instead.

        :raises ServiceUnavailable: if a limit says so.
        """
        policies = [limit.on_storage_error or self.state.on_storage_error for limit, _ in asked]
        if "deny" in policies:
            retry_after_s = getattr(error, "retry_after_s", 5)
            raise ServiceUnavailable(retry_after=retry_after_s) from error
        if "raise" in policies:
            raise error
        counted = [one for one, policy in zip(asked, policies, strict=True) if policy == "memory"]
        if counted and self.state.fallback_limits:
            limits = [one for limit in self.state.fallback_limits for one in await limit.resolve(self.state.key_func)]
            counted = [one for limit in sorted(limits, key=lambda x: x.limit) if (one := await self._asked(limit))]
        return counted, await self._metas(counted)

    # -- the answer -----------------------------------------------------------------------------------------------

    async def _follow(self, asked: Sequence[Asked], metas: Sequence[Asked], decision: Decision) -> None:
        answers = decision.answers
        for (meta, claim), answer in zip(metas, answers[len(asked) : len(asked) + len(metas)], strict=True):
            if answer is not None and not answer.passed:
                await self._meta_breached(meta, self._request_limit(meta, claim, answer))
        seen = [
            (limit, claim, self._request_limit(limit, claim, answer))
            for (limit, claim), answer in zip(asked, answers, strict=False)
            if answer is not None
        ]
        context = self.context
        context.view_rate_limits = shown = [request_limit for _, _, request_limit in seen]
        context.conditional += [one for one in seen if one[1].role == "test"]
        breached = [one for one in seen if one[2].breached]
        if shown:
            own = [request_limit for request_limit in shown if not request_limit.shared]
            context.view_rate_limit = breached[-1][2] if breached else (own or shown)[0]
        else:
            context.view_rate_limit = None
        _decisions.inc(outcome="denied" if breached else "allowed")
        if breached:
            context.consumed.clear()
            raise await self._exceeded([(limit, request_limit) for limit, _, request_limit in breached])
        context.consumed += [
            (self.storage, claim, decision.stamp) for _, claim, _ in seen if claim.role == "hit" and claim.cost
        ]

    def _request_limit(self, limit: RuntimeLimit, claim: Claim, answer: Answer) -> RequestLimit:
        return RequestLimit(self.limiter, limit.limit, list(claim.args), not answer.passed, limit.shared, answer.window)

    async def _meta_breached(self, meta: RuntimeLimit, request_limit: RequestLimit) -> None:
        _decisions.inc(outcome="denied")
        self.context.view_rate_limit, self.context.view_rate_limits = request_limit, [request_limit]
        callback = meta.on_breach or self.state.on_meta_breach
        raise await _error(meta, await self._responses([callback], request_limit))

    async def _exceeded(self, breached: Sequence[tuple[RuntimeLimit, RequestLimit]]) -> RateLimitExceeded:
        response: Any = None
        for limit, request_limit in breached:
            logger.info("ratelimit %s exceeded at endpoint: %s", request_limit.key, self.place.endpoint)
            found = await self._responses([self.state.on_breach, limit.on_breach], request_limit)
            response = response if found is None else found
        return await _error(breached[0][0], response)

    async def _responses(self, callbacks: Sequence[Any], request_limit: RequestLimit) -> Any:
        """The last response that a callback returned."""
        response: Any = None
        for callback in dict.fromkeys(callbacks):
            if callback is None:
                continue
            try:
                found = await called(callback, request_limit)
            except Exception:
                if not self.state.swallow_errors:
                    raise
                logger.exception("on_breach callback failed")
                continue
            response = found if isinstance(found, Response) else response
        return response


async def _error(limit: RuntimeLimit, response: Any) -> RateLimitExceeded:
    message = limit.error_message
    return RateLimitExceeded(limit, response, await called(message) if callable(message) else message)


async def deduct(state: AppState, context: RequestContext, response: Any) -> None:
    """Count the limits that wanted to see the response first, in one question, and renew what is known of them."""
    conditional, context.conditional = context.conditional, []
    chosen = [one for one in conditional if one[0].deduct_when and await called(one[0].deduct_when, response)]
    if not chosen:
        return
    storage = state.storage
    claims = [replace(claim, role="hit") for _, claim, _ in chosen]
    try:
        decision = await storage.decide(claims, state.strategy, stops=False, consumes=True)
    except Exception as error:
        if not is_away(error, storage):
            raise
        _note(state, error)
        policies = {limit.on_storage_error or state.on_storage_error for limit, _, _ in chosen}
        if "raise" in policies:
            raise
        decision = await state.fallback.decide(claims, state.strategy, stops=False, consumes=True)
    for (_, _, request_limit), answer in zip(chosen, decision.answers, strict=True):
        if answer is not None:
            request_limit.window = answer.window
