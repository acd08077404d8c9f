"""A limiter's options for one application: the constructor's, completed from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from ..warn import warn
from .constants import ConfigVars, HeaderNames
from .definitions import ApplicationLimit, Limit, MetaLimit, Text, check_policy
from .errors import LimiterConfigError
from .storage import STRATEGIES, MemoryStorage, open_storage
from .util import trusted_proxies

__all__ = ["AppState", "Options", "configure"]

_HEADER_KEYS = {
    HeaderNames.RESET: ConfigVars.HEADER_RESET,
    HeaderNames.REMAINING: ConfigVars.HEADER_REMAINING,
    HeaderNames.LIMIT: ConfigVars.HEADER_LIMIT,
    HeaderNames.RETRY_AFTER: ConfigVars.HEADER_RETRY_AFTER,
}
_RETRY_AFTER = ("http-date", "delta-seconds")
Written = Text | Limit


@dataclass
class Options:
    """What a limiter was made with; ``None`` leaves it to the configuration."""

    key_func: Callable[[], Any]
    default_limits: Sequence[Written] | None = None
    default_limits_per_method: bool | None = None
    default_limits_exempt_when: Callable[[], Any] | None = None
    default_limits_deduct_when: Callable[[Any], Any] | None = None
    default_limits_cost: int | Callable[[], Any] | None = None
    application_limits: Sequence[Written] | None = None
    application_limits_per_method: bool | None = None
    application_limits_exempt_when: Callable[[], Any] | None = None
    application_limits_deduct_when: Callable[[Any], Any] | None = None
    application_limits_cost: int | Callable[[], Any] | None = None
    headers_enabled: bool | None = None
    header_name_mapping: dict[HeaderNames, str] | None = None
    strategy: str | None = None
    storage_uri: str | None = None
    storage_options: dict[str, Any] | None = None
    swallow_errors: bool | None = None
    fail_on_first_breach: bool | None = None
    on_breach: Callable[[Any], Any] | None = None
    meta_limits: Sequence[Written] | None = None
    on_meta_breach: Callable[[Any], Any] | None = None
    in_memory_fallback: Sequence[Written] | None = None
    in_memory_fallback_enabled: bool | None = None
    retry_after: str | None = None
    key_prefix: str = ""
    request_identifier: Callable[[], Any] | None = None
    denied_consumes: bool | None = None
    on_storage_error: str | None = None


@dataclass
class AppState:
    """The same for one application, complete, and its storages; it does not refer to the application."""

    enabled: bool
    key_func: Callable[[], Any]
    strategy: str
    storage: Any
    headers: dict[HeaderNames, str] | None
    retry_after: str | None
    key_prefix: str
    swallow_errors: bool
    fail_on_first_breach: bool
    denied_consumes: bool
    on_storage_error: str
    on_breach: Callable[[Any], Any] | None
    on_meta_breach: Callable[[Any], Any] | None
    request_identifier: Callable[[], Any] | None
    default_limits: list[Limit]
    application_limits: list[Limit]
    meta_limits: list[Limit]
    fallback_limits: list[Limit]
    fallback: MemoryStorage = field(default_factory=MemoryStorage)
    degraded: bool = False


def configure(options: Options, app: Any, *, enabled: bool) -> AppState:
    """Read the ``RATELIMIT_…`` keys; what the limiter was made with wins over them.

    :raises ConfigError: with the key, the value and what is allowed.
    """
    config = app.config
    read = _Reader(options, config)
    trusted_proxies(config)
    fallback_limits = _limits(options.in_memory_fallback, config, ConfigVars.IN_MEMORY_FALLBACK, Limit)
    falls_back = bool(fallback_limits) or read.flag("in_memory_fallback_enabled", ConfigVars.IN_MEMORY_FALLBACK_ENABLED)
    swallow_errors = read.flag("swallow_errors", ConfigVars.SWALLOW_ERRORS)
    policy = read.value("on_storage_error", ConfigVars.ON_STORAGE_ERROR)
    check_policy(ConfigVars.ON_STORAGE_ERROR, policy)
    return AppState(
        enabled=enabled,
        key_func=options.key_func,
        strategy=read.choice("strategy", ConfigVars.STRATEGY, STRATEGIES, "fixed-window"),
        storage=_storage(options, app),
        headers=_headers(options, config) if read.flag("headers_enabled", ConfigVars.HEADERS_ENABLED) else None,
        retry_after=read.choice("retry_after", ConfigVars.HEADER_RETRY_AFTER_VALUE, _RETRY_AFTER, "delta-seconds"),
        key_prefix=options.key_prefix or config.get(ConfigVars.KEY_PREFIX) or "",
        swallow_errors=swallow_errors,
        fail_on_first_breach=read.flag("fail_on_first_breach", ConfigVars.FAIL_ON_FIRST_BREACH, True),
        denied_consumes=read.flag("denied_consumes", ConfigVars.DENIED_CONSUMES),
        on_storage_error=policy or ("memory" if falls_back else "allow" if swallow_errors else "raise"),
        on_breach=read.value("on_breach", ConfigVars.ON_BREACH),
        on_meta_breach=read.value("on_meta_breach", ConfigVars.ON_META_BREACH),
        request_identifier=read.value("request_identifier", ConfigVars.REQUEST_IDENTIFIER),
        default_limits=_limits(
            options.default_limits,
            config,
            ConfigVars.DEFAULT_LIMITS,
            Limit,
            per_method=read.flag("default_limits_per_method", ConfigVars.DEFAULT_LIMITS_PER_METHOD),
            exempt_when=read.value("default_limits_exempt_when", ConfigVars.DEFAULT_LIMITS_EXEMPT_WHEN),
            deduct_when=read.value("default_limits_deduct_when", ConfigVars.DEFAULT_LIMITS_DEDUCT_WHEN),
            cost=read.value("default_limits_cost", ConfigVars.DEFAULT_LIMITS_COST),
        ),
        application_limits=_limits(
            options.application_limits,
            config,
            ConfigVars.APPLICATION_LIMITS,
            ApplicationLimit,
            per_method=read.flag("application_limits_per_method", ConfigVars.APPLICATION_LIMITS_PER_METHOD),
            exempt_when=read.value("application_limits_exempt_when", ConfigVars.APPLICATION_LIMITS_EXEMPT_WHEN),
            deduct_when=read.value("application_limits_deduct_when", ConfigVars.APPLICATION_LIMITS_DEDUCT_WHEN),
            cost=read.value("application_limits_cost", ConfigVars.APPLICATION_LIMITS_COST),
        ),
        meta_limits=_limits(options.meta_limits, config, ConfigVars.META_LIMITS, MetaLimit),
        fallback_limits=fallback_limits,
    )


class _Reader:
    """The constructor's option, else the configuration's."""

    def __init__(self, options: Options, config: Mapping[str, Any]) -> None:
        self.options, self.config = options, config

    def value(self, name: str, key: str, default: Any = None) -> Any:
        given = getattr(self.options, name)
        return self.config.get(key, default) if given is None else given

    def flag(self, name: str, key: str, default: bool = False) -> bool:
        return bool(self.value(name, key, default))

    def choice(self, name: str, key: str, allowed: Sequence[str], default: str) -> str:
        value = self.value(name, key) or default
        if value not in allowed:
            raise LimiterConfigError(key, value, f"one of {', '.join(map(repr, allowed))}")
        return str(value)


def _headers(options: Options, config: Mapping[str, Any]) -> dict[HeaderNames, str]:
    given = options.header_name_mapping or {}
    return {name: given.get(name) or config.get(key) or name.value for name, key in _HEADER_KEYS.items()}


def _limits(
    given: Sequence[Written] | None, config: Mapping[str, Any], key: str, kind: type[Limit], **options: Any
) -> list[Limit]:
    """Limits written as strings or functions get the limiter's options; those made by hand have their own.

    :raises ConfigError: if one is no limit.
    """
    written: Any = given or config.get(key) or []
    if isinstance(written, str | Limit) or callable(written):
        written = [written]
    limits = [
        limit.completed(**options) if isinstance(limit, Limit) else kind(limit_provider=limit, **options)
        for limit in written
    ]
    for limit in limits:
        limit.check(key)
    return limits


def _storage(options: Options, app: Any) -> Any:
    config = app.config
    given = {**(options.storage_options or {}), **(config.get(ConfigVars.STORAGE_OPTIONS) or {})}
    uri = options.storage_uri or config.get(ConfigVars.STORAGE_URI)
    if uri is None and config.get("RATELIMIT_STORAGE_URL"):
        uri = config["RATELIMIT_STORAGE_URL"]
        warn("RATELIMIT_STORAGE_URL is called RATELIMIT_STORAGE_URI since Flask-Limiter 2.0", DeprecationWarning)
    if uri is None and config.get("REDIS_URL") is None:
        warn(
            "Rate limits are counted in this process's memory, each process for itself, as no storage is configured:"
            " set REDIS_URL, or RATELIMIT_STORAGE_URI, which may be 'memory://'.",
        )
        uri = "memory://"
    if uri is not None and (not isinstance(uri, str) or "://" not in uri):
        raise LimiterConfigError(ConfigVars.STORAGE_URI, uri, "redis://…, memory://, or another storage of `limits`")
    try:
        return open_storage(app, uri, given)
    except ConfigError as error:
        key = ConfigVars.STORAGE_URI if error.key == "url" else error.key
        raise LimiterConfigError(key, error.value, error.allowed) from error
