"""What a limit is: as it is written, and as it is for one request."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, get_args

from limits import RateLimitItem, parse_many

from ..bridge import wait
from ..errors import ConfigError
from ..faces import called

if TYPE_CHECKING:
    from .extension import Limiter
    from .request_limit import RequestLimit

__all__ = ["ApplicationLimit", "Limit", "MetaLimit", "OnStorageError", "RouteLimit", "RuntimeLimit", "check_policy"]

OnStorageError = Literal["raise", "allow", "deny", "memory"]
Text = str | Callable[[], Any]
OnBreach = Callable[["RequestLimit"], Any]


def check_policy(name: str, value: Any) -> None:
    """:raises ConfigError: if it is not what may be done when the storage is away."""
    if value is not None and value not in get_args(OnStorageError):
        raise ConfigError(name, value, f"one of {', '.join(map(repr, get_args(OnStorageError)))}, or None")


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[RateLimitItem, ...]:
    return tuple(parse_many(text)) if text else ()


@dataclass(slots=True)
class RuntimeLimit:
    """One limit of one request; its functions have not been asked yet."""

    limit: RateLimitItem
    key_func: Callable[[], Any]
    scope: str | Callable[[str], Any] | None = None
    per_method: bool = False
    methods: Sequence[str] | None = None
    error_message: Text | None = None
    exempt_when: Callable[[], Any] | None = None
    override_defaults: bool | None = False
    deduct_when: Callable[[Any], Any] | None = None
    on_breach: OnBreach | None = None
    cost: int | Callable[[], Any] = 1
    shared: bool = False
    meta_limits: tuple[RuntimeLimit, ...] = ()
    on_storage_error: OnStorageError | None = None

    def method_exempt(self, method: str) -> bool:
        """Whether it does not apply to this method."""
        return self.methods is not None and method.lower() not in self.methods

    async def is_exempt(self) -> bool:
        return self.exempt_when is not None and bool(await called(self.exempt_when))

    async def deduction(self) -> int:
        """What a request costs.

        :raises ValueError: if that is negative.
        """
        cost = await called(self.cost) if callable(self.cost) else self.cost
        if cost < 0:
            raise ValueError(f"the cost of {self.limit} is {cost!r}: it must be 0 or more")
        return int(cost)

    async def scope_for(self, endpoint: str, request_endpoint: str, method: str) -> str:
        """What is counted together: Flask-Limiter's scopes, since they are part of the keys."""
        given = await called(self.scope, request_endpoint) if callable(self.scope) else self.scope
        scope = endpoint if not given else given if self.shared else f"{endpoint}:{given}"
        return f"{scope}:{method.upper()}" if self.per_method else str(scope)


@dataclass(unsafe_hash=True)
class Limit:
    """A limit, or several in one string, as it is written.

    :ivar limit_provider: as ``"10/minute; 100 per day"``, or a function, sync or async, that returns such.
    :ivar key_function: returns who is limited; by default that of the limiter.
    :ivar scope: what is counted together, or a function of the endpoint; with the endpoint unless ``shared``.
    :ivar cost: of a request, or a function that returns it.
    :ivar shared: whether endpoints count together.
    :ivar methods: HTTP methods that are limited, by default all.
    :ivar per_method: whether each method counts for itself.
    :ivar error_message: the answer's description, or a function that returns it.
    :ivar meta_limits: count the breaches of this one.
    :ivar exempt_when: returns whether a request is not limited.
    :ivar deduct_when: gets the response, returns whether it counts; the request itself is only tested.
    :ivar on_breach: gets a :class:`RequestLimit`; may return the response.
    :ivar on_storage_error: when the storage is away: ``"raise"`` its error, ``"allow"``, ``"deny"`` (503), or count in
        ``"memory"``; by default what the limiter says. Not in Flask-Limiter.
    """

    limit_provider: Text
    key_function: Callable[[], Any] | None = None
    scope: str | Callable[[str], Any] | None = None
    cost: int | Callable[[], Any] | None = None
    shared: bool = False
    methods: Sequence[str] | None = None
    per_method: bool = False
    error_message: Text | None = None
    meta_limits: Iterable[Text | MetaLimit] | None = None
    exempt_when: Callable[[], Any] | None = None
    deduct_when: Callable[[Any], Any] | None = None
    on_breach: OnBreach | None = None
    finalized: bool = True
    on_storage_error: OnStorageError | None = field(default=None, kw_only=True)
    override_defaults: bool | None = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.methods = tuple(method.lower() for method in self.methods) if self.methods else None
        self.meta_limits = tuple(self.meta_limits) if self.meta_limits else None
        check_policy("on_storage_error", self.on_storage_error)

    def check(self, name: str) -> None:
        """:raises ConfigError: where a string is no limit; ``name`` says whose it is."""
        if isinstance(self.limit_provider, str):
            try:
                _parsed(self.limit_provider)
            except ValueError:
                raise ConfigError(name, self.limit_provider, "limits are written as '10/minute; 100 per day'") from None

    async def resolve(
        self, key_func: Callable[[], Any], parent: Callable[[], Any] | None = None
    ) -> tuple[RuntimeLimit, ...]:
        """The limits that this is for the current request.

        :param key_func: of the limiter.
        :param parent: that of the limit that this is a meta limit of.
        :raises ValueError: if a string is no limit.
        """
        text = await called(self.limit_provider) if callable(self.limit_provider) else self.limit_provider
        items = _parsed(text) if text else ()
        metas = [
            await (meta if isinstance(meta, MetaLimit) else MetaLimit(meta)).resolve(key_func, self.key_function)
            for meta in self.meta_limits or ()
        ]
        return tuple(
            RuntimeLimit(
                item,
                self.key_function or parent or key_func,
                self.scope,
                self.per_method,
                self.methods,
                self.error_message,
                self.exempt_when,
                self.override_defaults,
                self.deduct_when,
                self.on_breach,
                self.cost or 1,
                self.shared,
                tuple(itertools.chain(*metas)),
                self.on_storage_error,
            )
            for item in items
        )

    def completed(self, **options: Any) -> Limit:
        """With the limiter's options, if it has none of its own."""
        return self if self.finalized else replace(self, finalized=True, **options)


@dataclass(kw_only=True, unsafe_hash=True)
class ApplicationLimit(Limit):
    """A limit that all routes share, for ``application_limits``."""

    scope: str | Callable[[str], Any] | None = "global"
    shared: bool = field(init=False, default=True)

    def completed(self, **options: Any) -> Limit:
        if self.finalized:
            return self
        done = ApplicationLimit(limit_provider=self.limit_provider, **options)
        return done


@dataclass(kw_only=True, unsafe_hash=True)
class MetaLimit(Limit):
    """A limit on how often limits are breached."""

    scope: str | Callable[[str], Any] | None = "meta"
    meta_limits: Iterable[Text | MetaLimit] | None = field(init=False, default=None)
    shared: bool = field(init=False, default=True)
    deduct_when: Callable[[Any], Any] | None = field(init=False, default=None)


@dataclass(kw_only=True, unsafe_hash=True)
class RouteLimit(Limit):
    """What ``limit`` and ``shared_limit`` return: a decorator of views, other functions and blueprints, and a context
    manager (``async with``; ``with`` in synchronous code).

    :ivar override_defaults: whether the default limits do not apply as well.
    """

    limiter: InitVar[Limiter] = field(hash=False)
    override_defaults: bool | None = False

    def __post_init__(self, limiter: Limiter) -> None:
        super().__post_init__()
        self._limiter = limiter

    def __call__(self, obj: Any) -> Any:
        """Limit a function, which comes back limited, or a blueprint, in place."""
        return self._limiter.decorate(self, obj)

    def __aenter__(self) -> Awaitable[None]:
        return self._limiter.checks.enter(self, _place())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is given back."""

    def __enter__(self) -> None:
        wait(self._limiter.checks.enter(self, _place()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is given back."""


def _place() -> str:
    """Where the user's ``with`` stands: what this context manager is known by."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(("decant.faces", __name__)):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_code.co_name}:{frame.f_lineno}"
