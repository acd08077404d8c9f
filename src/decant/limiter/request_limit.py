"""What a request knows of its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limits import RateLimitItem
from limits.util import WindowStats

from .definitions import RuntimeLimit
from .storage import Claim

if TYPE_CHECKING:
    from .extension import Limiter

__all__ = ["RequestContext", "RequestLimit", "context_of"]


class RequestLimit:
    """One limit of the current request.

    Follows Flask-Limiter's. What differs: its window came with the decision, so asking for it waits for nothing.

    :ivar limit: how many, and in what time.
    :ivar key: of the counter, without the storage's prefix.
    :ivar request_args: what the key is made of: prefix, who is limited, scope.
    :ivar breached: whether this request is over it.
    :ivar shared: whether endpoints count together.
    :ivar window: when it resets, in seconds since the epoch, and what remains, after this request.
    """

    def __init__(
        self,
        extension: Limiter,
        limit: RateLimitItem,
        request_args: list[str],
        breached: bool,
        shared: bool,
        window: WindowStats,
    ) -> None:
        self.extension, self.limit, self.request_args = extension, limit, request_args
        self.breached, self.shared, self.window = breached, shared, window
        self.key = limit.key_for(*request_args)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key} remaining={self.remaining} breached={self.breached}>"

    @property
    def limiter(self) -> Any:
        """The strategy, of ``limits``."""
        return self.extension.limiter

    @property
    def reset_at(self) -> int:
        """When it resets, in whole seconds since the epoch."""
        return int(self.window.reset_time + 1)

    @property
    def remaining(self) -> int:
        """How many more are allowed now."""
        return self.window.remaining


@dataclass(slots=True)
class RequestContext:
    """One limiter's memory of one request."""

    view_rate_limit: RequestLimit | None = None
    view_rate_limits: list[RequestLimit] = field(default_factory=list)
    conditional: list[tuple[RuntimeLimit, Claim, RequestLimit]] = field(default_factory=list)
    seen: list[RuntimeLimit] = field(default_factory=list)
    consumed: list[tuple[Any, Claim, str]] = field(default_factory=list)
    """What earlier decisions counted: where, what, and their stamps."""
    decided: str | None = None
    """The view whose limits were decided before it was called."""


def context_of(limiter: Limiter, request: Any) -> RequestContext:
    """Kept with the request itself, since an application context may be that of several requests."""
    contexts: dict[Limiter, RequestContext] = vars(request).setdefault("_decant_limiter", {})
    context = contexts.get(limiter)
    if context is None:
        context = contexts[limiter] = RequestContext()
    return context
