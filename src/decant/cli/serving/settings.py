"""``--config``: Hypercorn's settings from a TOML file, looked at before they are used: Hypercorn takes anything."""

from __future__ import annotations

import inspect
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...errors import CommandError

__all__ = ["read_settings"]

_ELSEWHERE = ("insecure_bind", "quic_bind")
_LOOPS = ("asyncio", "uvloop")
_LISTS_OR_TEXTS = ("bind", "insecure_bind", "quic_bind")
_KINDS: dict[type, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "a text"),
    list: (list, "a list"),
}


def read_settings(path: Path | str) -> dict[str, Any]:
    """What the file says.

    :raises CommandError: if it cannot be read, or has a key that Hypercorn does not know, a value that is not of its
        kind, or something that ``decant serve`` cannot do.
    """
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"--config {path} cannot be read: {error}") from error
    known = _known()
    for key, value in settings.items():
        if key not in known:
            close = "".join(f"; did you mean {name}?" for name in get_close_matches(key, known, 1))
            raise CommandError(f"--config {path} has {key}, which Hypercorn does not know{close}")
        accepted, words = _KINDS.get(type(known[key]), (object, ""))
        one = key in _LISTS_OR_TEXTS and isinstance(value, str)
        if not (isinstance(value, accepted) or one) or (isinstance(value, bool) and accepted not in (bool, object)):
            raise CommandError(f"--config {path} has {key} = {value!r}: it must be {words}")
    for key in _ELSEWHERE:
        if settings.get(key):
            raise CommandError(f"--config {path} has {key}: decant serve listens where bind says, and nowhere else")
    if (loop := settings.get("worker_class", "asyncio")) not in _LOOPS:
        raise CommandError(f"--config {path} has worker_class = {loop!r}: decant serve runs on {' or '.join(_LOOPS)}")
    return settings


def _known() -> dict[str, Any]:
    """Hypercorn's settings with their defaults."""
    from hypercorn.config import Config

    defaults = Config()
    return {
        name: getattr(defaults, name, None)
        for name, found in inspect.getmembers_static(Config)
        if not (name.startswith("_") or inspect.isroutine(found) or isinstance(found, classmethod | staticmethod))
        and not (isinstance(found, property) and found.fset is None)
    }
