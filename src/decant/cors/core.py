"""The names of ``flask_cors.core``, for applications that use Flask-CORS's own functions; see there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..context import current_app, current_request
from .headers import ALLOW_ORIGIN as ACL_ORIGIN
from .headers import EVALUATED as FLASK_CORS_EVALUATED
from .headers import REQUEST_METHOD as ACL_REQUEST_METHOD
from .headers import add_to, allowed_headers, allowed_origin, headers_for
from .options import CONFIG_KEYS, DEFAULTS, Options, Pattern, is_regex, joined, matches, merged, read, read_resources

__all__ = [
    "ACL_ALLOW_HEADERS",
    "ACL_CREDENTIALS",
    "ACL_EXPOSE_HEADERS",
    "ACL_MAX_AGE",
    "ACL_METHODS",
    "ACL_ORIGIN",
    "ACL_REQUEST_HEADERS",
    "ACL_REQUEST_HEADER_PRIVATE_NETWORK",
    "ACL_REQUEST_METHOD",
    "ACL_RESPONSE_PRIVATE_NETWORK",
    "ALL_METHODS",
    "CONFIG_OPTIONS",
    "DEFAULT_OPTIONS",
    "FLASK_CORS_EVALUATED",
    "RegexObject",
    "ensure_iterable",
    "flexible_str",
    "get_allow_headers",
    "get_app_kwarg_dict",
    "get_cors_headers",
    "get_cors_options",
    "get_cors_origins",
    "get_regexp_pattern",
    "parse_resources",
    "probably_regex",
    "re",
    "re_fix",
    "sanitize_regex_param",
    "serialize_options",
    "set_cors_headers",
    "try_match_any_pattern",
    "try_match_pattern",
]

ACL_METHODS: Final = "Access-Control-Allow-Methods"
ACL_ALLOW_HEADERS: Final = "Access-Control-Allow-Headers"
ACL_EXPOSE_HEADERS: Final = "Access-Control-Expose-Headers"
ACL_CREDENTIALS: Final = "Access-Control-Allow-Credentials"
ACL_MAX_AGE: Final = "Access-Control-Max-Age"
ACL_RESPONSE_PRIVATE_NETWORK: Final = "Access-Control-Allow-Private-Network"
ACL_REQUEST_HEADERS: Final = "Access-Control-Request-Headers"
ACL_REQUEST_HEADER_PRIVATE_NETWORK: Final = "Access-Control-Request-Private-Network"
ALL_METHODS: Final = list(DEFAULTS["methods"])
CONFIG_OPTIONS: Final = list(CONFIG_KEYS)
DEFAULT_OPTIONS: Final = dict(DEFAULTS)
RegexObject: Final = re.Pattern
parse_resources: Final = read_resources
flexible_str: Final = joined
probably_regex: Final = is_regex
get_cors_headers: Final = headers_for
get_allow_headers: Final = allowed_headers


def serialize_options(opts: Mapping[str, Any]) -> Options:
    """What the options mean; those that are not given have their defaults.

    :raises ConfigError: (a ``ValueError``) as ``CORS`` does.
    """
    return read({**DEFAULTS, **opts})


def get_app_kwarg_dict(app: Any = None) -> dict[str, Any]:
    """``CORS_*`` of an application, by default of the current one, by the names of the options."""
    config = getattr(app or current_app(), "config", {})
    return {name: config[key] for key, name in CONFIG_KEYS.items() if config.get(key) is not None}


def get_cors_options(app: Any, *given: Mapping[str, Any]) -> Options:
    """The options of an application (or blueprint), the given ones before its configuration."""
    return read(merged(getattr(app or current_app(), "config", {}), *given))


def get_cors_origins(options: Options, request_origin: str | None) -> list[str] | None:
    """``Access-Control-Allow-Origin``, in a list, or ``None``."""
    allowed = allowed_origin(options, request_origin)
    return None if allowed is None else [allowed]


def set_cors_headers(resp: Any, options: Options) -> Any:
    """Add the headers for the current request to a response."""
    request = current_request()
    add_to(resp, options, request.headers, request.method)
    return resp


def try_match_pattern(value: Any, pattern: Pattern, caseSensitive: bool = True) -> bool:
    """Whether an origin, header or path is what the pattern says."""
    return matches(str(value), pattern, fold=not caseSensitive)


def try_match_any_pattern(inst: Any, patterns: Iterable[Pattern], caseSensitive: bool = True) -> bool:
    """Whether it is what one of the patterns says."""
    return any(try_match_pattern(inst, pattern, caseSensitive) for pattern in patterns)


def re_fix(reg: Pattern) -> Pattern:
    """``.*`` for ``*``."""
    return ".*" if reg == "*" else reg


def get_regexp_pattern(regexp: Pattern) -> str:
    """The text of a pattern."""
    return regexp.pattern if isinstance(regexp, re.Pattern) else str(regexp)


def ensure_iterable(inst: Any) -> Iterable[Any]:
    """The value, or a list of it if it is a string or cannot be iterated."""
    return inst if isinstance(inst, Iterable) and not isinstance(inst, str) else [inst]


def sanitize_regex_param(param: Any) -> list[Pattern]:
    """A list of patterns, for one or several."""
    return [re_fix(one) for one in ensure_iterable(param)]
