"""The options: where they come from, which wins, and what they mean once they are read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias

from ..errors import ConfigError

__all__ = [
    "CONFIG_KEYS",
    "DEFAULTS",
    "Options",
    "Pattern",
    "is_regex",
    "joined",
    "matches",
    "merged",
    "read",
    "read_resources",
]

Pattern: TypeAlias = "str | re.Pattern[str]"
logger = logging.getLogger("decant.cors")

DEFAULTS: Final[Mapping[str, Any]] = {
    "origins": "*",
    "methods": ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"),
    "allow_headers": "*",
    "expose_headers": None,
    "supports_credentials": False,
    "max_age": None,
    "send_wildcard": False,
    "vary_header": True,
    "automatic_options": True,
    "always_send": True,
    "intercept_exceptions": True,
    "allow_private_network": False,
    "resources": r"/*",
}
CONFIG_KEYS: Final = {f"CORS_{name.upper()}": name for name in DEFAULTS}
_SIGNS_OF_A_REGEX: Final = re.compile(r"[*\\\]?$^\[()]")


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for a resource: patterns compiled, lists joined as their headers have them.

    ``methods`` and ``expose_headers`` are comma-separated, or None; ``method_names`` are those of ``methods``;
    ``max_age`` is in seconds.
    """

    origins: tuple[Pattern, ...]
    any_origin: bool
    methods: str | None
    method_names: frozenset[str]
    allow_headers: tuple[Pattern, ...]
    expose_headers: str | None
    max_age: str | None
    supports_credentials: bool
    send_wildcard: bool
    vary_header: bool
    automatic_options: bool
    always_send: bool
    intercept_exceptions: bool
    allow_private_network: bool


def merged(config: Mapping[str, Any], *given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults, then ``CORS_*`` of the configuration that are not None, then each of ``given``: the last one wins."""
    options = dict(DEFAULTS)
    options.update({name: config[key] for key, name in CONFIG_KEYS.items() if config.get(key) is not None})
    for more in given:
        options.update(more)
    return options


def read(options: Mapping[str, Any]) -> Options:
    """Check the options and prepare them.

    :raises ConfigError: (a ``ValueError``) for an invalid regular expression, a ``max_age`` that is no number of
        seconds, or credentials for every origin together with ``send_wildcard``.
    """
    for name in options.keys() - DEFAULTS.keys():
        logger.warning("Unknown option of CORS: %s", name)
    flags = {name: bool(options.get(name)) for name, default in DEFAULTS.items() if isinstance(default, bool)}
    given = list(_each(options.get("origins")))
    origins = _patterns("origins", given)
    any_origin = any(origin in ("*", ".*") for origin in given)
    if any_origin and flags["supports_credentials"] and flags["send_wildcard"]:
        raise ConfigError(
            "CORS_ORIGINS", options.get("origins"), "with supports_credentials and send_wildcard, name the origins"
        )
    methods = joined(options.get("methods"))
    methods = methods and methods.upper()
    return Options(
        origins=origins,
        any_origin=any_origin,
        methods=methods,
        method_names=frozenset(name.strip() for name in (methods or "").split(",")) - {""},
        allow_headers=_patterns("allow_headers", options.get("allow_headers")),
        expose_headers=joined(options.get("expose_headers")),
        max_age=_seconds(options.get("max_age")),
        **flags,
    )


def read_resources(resources: Any) -> list[tuple[Pattern, Mapping[str, Any]]]:
    """The paths that ``resources`` names, in the order in which they are tried, each with its own options.

    Those of a dictionary are sorted: literal paths, compiled expressions, strings that are expressions; among
    each, those with more slashes first, then the longer ones. Other lists keep their order.

    :raises ValueError: if it is neither a path, an expression, a list nor a dictionary of them; and as :func:`read`.
    """
    if isinstance(resources, Mapping):
        pairs = sorted(((_star(path), given) for path, given in resources.items()), key=lambda pair: _rank(pair[0]))
    elif isinstance(resources, str | re.Pattern):
        pairs = [(_star(resources), {})]
    elif isinstance(resources, Iterable):
        pairs = [(_star(path), {}) for path in resources]
    else:
        raise ValueError(
            "Unexpected value for resources argument."
            f" CORS_RESOURCES = {resources!r} should be a path, a regular expression, or a list or dictionary of them"
        )
    return [(_compiled("resources", path, 0), given) for path, given in pairs]


def matches(value: str, pattern: Pattern, *, fold: bool) -> bool:
    """Whether the pattern is, or matches from its start, the value; ``fold`` ignores the case of literal ones."""
    if isinstance(pattern, re.Pattern):
        return pattern.match(value) is not None
    return value.casefold() == pattern.casefold() if fold else value == pattern


def _rank(pattern: Pattern) -> tuple[int, int, int]:
    if isinstance(pattern, re.Pattern):
        return 1, -pattern.pattern.count("/"), -len(pattern.pattern)
    return 2 if _SIGNS_OF_A_REGEX.search(pattern) else 0, -pattern.count("/"), -len(pattern)


def _star(pattern: Pattern) -> Pattern:
    return ".*" if pattern == "*" else pattern


def _patterns(option: str, value: Any) -> tuple[Pattern, ...]:
    return tuple(_compiled(option, _star(one), re.IGNORECASE) for one in _each(value))


def _each(value: Any) -> Iterable[Any]:
    return value if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def _compiled(option: str, pattern: Any, flags: int) -> Pattern:
    if isinstance(pattern, re.Pattern):
        return pattern
    if not isinstance(pattern, str):
        raise ConfigError(f"CORS_{option.upper()}", pattern, "strings or compiled regular expressions")
    if not is_regex(pattern):
        return pattern
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        allowed = f"it has to be a regular expression, as it has one of *\\]?$^[](): {error}"
        raise ConfigError(f"CORS_{option.upper()}", pattern, allowed) from error


def is_regex(pattern: Pattern) -> bool:
    """Whether a pattern is a regular expression: a string is one if it has any of ``*\\]?$^[]()``."""
    return isinstance(pattern, re.Pattern) or _SIGNS_OF_A_REGEX.search(pattern) is not None


def joined(value: Any) -> str | None:
    """As a header has it: several are sorted, and separated by commas."""
    if value is None or isinstance(value, str):
        return value
    return ", ".join(map(str, sorted(value))) if isinstance(value, Iterable) else str(value)


def _seconds(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        return str(int(value.total_seconds()))
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
        raise ConfigError("CORS_MAX_AGE", value, "a timedelta, or a number of seconds")
    return str(value)
