"""Flask-Caching's helpers: names, arguments and time-outs, on which the keys depend that both write."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl
from weakref import WeakKeyDictionary

from werkzeug.datastructures import MultiDict

__all__ = [
    "Timeout",
    "function_namespace",
    "get_arg_default",
    "get_arg_names",
    "get_id",
    "join_generator",
    "make_template_fragment_key",
    "normalize_timeout",
    "positional_only",
    "query_args_as_pairs",
    "source_of",
    "wants_args",
    "wants_extra_args",
]

Timeout = int | float | timedelta
QueryArgs = str | Mapping[str, Any] | Iterable[tuple[str, Any]]
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.\u0100-\U0010ffff]")  # Flask-Caching removes these below U+0100


def normalize_timeout(timeout: Timeout | str | None) -> float | None:
    """Seconds; a ``timedelta`` is rounded up to whole seconds, so that none becomes 0, which means for ever.

    :raises ValueError: if it is negative, other than -1, which means for ever as 0 does.
    """
    if timeout is None:
        return None
    if isinstance(timeout, str):
        timeout = int(timeout)
    if isinstance(timeout, timedelta):
        timeout = math.ceil(timeout.total_seconds())
    if timeout == -1:
        return 0
    if not 0 <= timeout < math.inf:
        raise ValueError(f"a timeout of {timeout} s is not possible: seconds from 0, where 0 means for ever")
    return timeout


_known: Final[WeakKeyDictionary[Any, list[inspect.Parameter]]] = WeakKeyDictionary()


def _parameters(f: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, which are asked for with each call and take microseconds to find."""
    try:
        found = _known.get(f)
    except TypeError:  # neither hashable nor weakly referable
        return list(inspect.signature(f).parameters.values())
    if found is None:
        found = list(inspect.signature(f).parameters.values())
        with suppress(TypeError):
            _known[f] = found
    return found


def _positional(f: Callable[..., Any]) -> int:
    return sum(parameter.kind is not parameter.KEYWORD_ONLY for parameter in _parameters(f))


_sources: Final[WeakKeyDictionary[Any, bytes]] = WeakKeyDictionary()


def source_of(f: Callable[..., Any]) -> bytes:
    """The source of a function, read from its file once: best before requests are served, since that blocks."""
    f = inspect.unwrap(f)
    if f not in _sources:
        _sources[f] = inspect.getsource(f).encode()
    return _sources[f]


def wants_args(f: Callable[..., Any]) -> bool:
    """Whether it takes arguments, other than keyword-only ones."""
    return _positional(f) > 0


def wants_extra_args(f: Callable[..., Any]) -> bool:
    """Whether it takes more than one argument."""
    return _positional(f) > 1


def get_arg_names(f: Callable[..., Any]) -> list[str]:
    """The names of the parameters that may be given by position or by name."""
    return [parameter.name for parameter in _parameters(f) if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]


def positional_only(f: Callable[..., Any]) -> list[str]:
    """The names of the parameters that may be given by position only."""
    return [parameter.name for parameter in _parameters(f) if parameter.kind is parameter.POSITIONAL_ONLY]


def get_arg_default(f: Callable[..., Any], position: int) -> Any:
    """The default of a parameter; ``None`` if it has none."""
    default = _parameters(f)[position].default
    return None if default is inspect.Parameter.empty else default


def get_id(obj: Any) -> str:
    """What an instance is called in keys: ``__caching_id__()`` if it has that, else its ``repr``."""
    own = getattr(obj, "__caching_id__", None)
    return repr(obj) if own is None or inspect.isclass(obj) else str(own())


def function_namespace(f: Callable[..., Any], args: Any = None) -> tuple[str, str | None]:
    """The name of a function in keys, and of the instance that it is called on, if it is.

    :raises ValueError: for a method of a class without the class as the first argument.
    """
    names = get_arg_names(f)
    owner = getattr(f, "__self__", None)
    first = names[0] if names else None
    if first == "cls" and not (args and inspect.isclass(args[0])):
        raise ValueError(
            "When using `delete_memoized` on a `@classmethod` you must provide the class as the first argument"
        )
    instance: str | None = None
    if owner is not None and not inspect.isclass(owner):
        instance = get_id(owner)
    elif first == "self" and args:
        instance = get_id(args[0])
    name = f"{f.__module__}.{_name(f, owner, first, args)}"
    return _NOT_IN_NAMES.sub("", name), _NOT_IN_NAMES.sub("", f"{name}.{instance}") if instance else None


def _name(f: Any, owner: Any, first: str | None, args: Any) -> str:
    if hasattr(f, "__qualname__"):
        return str(f.__qualname__)
    kind = owner if inspect.isclass(owner) or owner is None else type(owner)
    if kind is None and args and first in ("self", "cls"):
        kind = args[0] if first == "cls" else type(args[0])
    return f"{kind.__name__}.{f.__name__}" if kind is not None else str(f.__name__)


def query_args_as_pairs(query_args: QueryArgs) -> list[tuple[str, str]]:
    """A query string, a mapping or pairs, as pairs of texts."""
    if isinstance(query_args, str):
        return parse_qsl(query_args.lstrip("?"), keep_blank_values=True)
    if isinstance(query_args, MultiDict):
        items: Iterable[tuple[str, Any]] = query_args.items(multi=True)
    else:
        items = query_args.items() if isinstance(query_args, Mapping) else query_args
    return [(key, str(value)) for key, value in items]


def make_template_fragment_key(fragment_name: str, vary_on: list[str] | None = None) -> str:
    """The key under which ``{% cache %}`` keeps a fragment."""
    suffix = "_" + "_".join(map(str, vary_on)) if vary_on else ""
    return f"_template_fragment_cache_{fragment_name}{suffix}"


def join_generator(rv: Iterable[Any]) -> Any:
    """What a generator gives: one text, one ``bytes``, or a list."""
    chunks = list(rv)
    for empty in ("", b""):
        if all(isinstance(chunk, type(empty)) for chunk in chunks):
            return empty.join(chunks)
    return chunks
