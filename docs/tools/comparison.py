"""How an attribute of Flask's differs from that of the same name elsewhere, seen from outside: nothing is called."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType, WrapperDescriptorType
from typing import Any

from werkzeug.local import LocalProxy
from werkzeug.utils import cached_property as werkzeugs_cached_property

__all__ = ["Owner", "compare"]

SIMPLE = (type(None), bool, int, float, str, bytes, tuple, timedelta)
MISSING = object()


@dataclass(frozen=True)
class Owner:
    """A module, or a class with an instance of it, whose attributes are looked at without calling any."""

    thing: Any
    instance: Any = None

    def names(self) -> list[str]:
        names = set(dir(self.thing)) | set(dir(self.instance) if self.instance is not None else ())
        return sorted(name for name in names if not name.startswith("_"))

    def has(self, name: str) -> bool:
        return self.get(name) is not MISSING

    def get(self, name: str) -> Any:
        for place in (self.thing, self.instance):
            found = inspect.getattr_static(place, name, MISSING)
            if found is not MISSING and place is not None:
                return found
        if isinstance(self.thing, ModuleType) and hasattr(self.thing, name):  # a module's __getattr__
            return getattr(self.thing, name)
        return MISSING


def compare(flasks: Owner, other: Owner, name: str, other_name: str) -> str:
    """One cell of the table."""
    old, new = flasks.get(name), other.get(other_name)
    if new is MISSING:
        return "absent"
    if type(old) is LocalProxy:  # nothing else about it can be known outside a request
        return "same" if type(new) is LocalProxy else "differs: no proxy"
    cell = _awaited(old, new) + _entered(flasks, other, name)
    in_class = isinstance(flasks.thing, type) and hasattr(flasks.thing, name)
    unlike = _unlike(old, new, in_class)
    if unlike:
        cell.append("differs: " + "; ".join(unlike))
    return (", ".join(cell) or "same") + (f" (named `{other_name}`)" if other_name != name else "")


def _function(attribute: Any) -> Any:
    """The function behind a method or a computed attribute."""
    if isinstance(attribute, staticmethod | classmethod):
        return attribute.__func__
    if isinstance(attribute, property):
        return attribute.fget
    if isinstance(attribute, cached_property | werkzeugs_cached_property):
        return getattr(attribute, "func", None) or attribute.fget  # type: ignore[union-attr]
    if isinstance(attribute, partial):
        return attribute.func
    return attribute


def _is_awaited(attribute: Any) -> bool:
    function = _function(attribute)
    if inspect.iscoroutinefunction(function):
        return True
    if not inspect.isfunction(function):
        return False
    returned = str(function.__annotations__.get("return", ""))
    return returned.startswith(("Awaitable[", "Coroutine["))


def _awaited(old: Any, new: Any) -> list[str]:
    return ["awaited"] if _is_awaited(new) and not _is_awaited(old) else []


def _entered(flasks: Owner, other: Owner, name: str) -> list[str]:
    """Whether what a method returns is entered by ``async with`` only."""
    function = _function(other.get(name))
    if hasattr(function, "__wrapped__") and inspect.isasyncgenfunction(inspect.unwrap(function)):
        return ["`async with`"]
    if name in {"app_context", "test_request_context"} and other.instance is not None:
        arguments = ("/",) if name == "test_request_context" else ()
        old, new = (getattr(owner.instance, name)(*arguments) for owner in (flasks, other))
        if hasattr(old, "__enter__") and not hasattr(new, "__enter__"):
            return ["`async with`"]
    return []


def _unlike(old: Any, new: Any, in_class: bool) -> list[str]:
    if callable(_function(old)) and callable(_function(new)) and _is_method(old) == _is_method(new):
        return _signatures(old, new, in_class) if _is_method(old) or isinstance(old, type) else []
    if _is_method(old) != _is_method(new) and not isinstance(old, type) and not isinstance(new, type):
        return ["a method" if _is_method(new) else "an attribute"]
    if in_class and isinstance(old, SIMPLE) and isinstance(new, SIMPLE) and old != new:
        return [f"`{new!r}`, not `{old!r}`"]
    return []


def _is_method(attribute: Any) -> bool:
    if isinstance(attribute, staticmethod | classmethod):
        return True
    routines = (FunctionType, BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType, partial)
    return isinstance(attribute, routines)


def _parameters(attribute: Any, in_class: bool) -> dict[str, inspect.Parameter] | None:
    try:
        parameters = list(inspect.signature(_function(attribute)).parameters.values())
    except (TypeError, ValueError):
        return None
    if (
        in_class
        and not isinstance(attribute, staticmethod | type | partial)
        and inspect.isfunction(_function(attribute))
    ):
        parameters = parameters[1:]
    return {parameter.name: parameter for parameter in parameters}


def _signatures(old: Any, new: Any, in_class: bool) -> list[str]:
    before, after = _parameters(old, in_class), _parameters(new, in_class)
    if before is None or after is None:
        return []
    kinds = {parameter.kind for parameter in after.values()}
    starred = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = {name: parameter for name, parameter in before.items() if parameter.kind not in starred}
    lost = [name for name in named if name not in after and not kinds & set(starred)]
    needed = [n for n, p in after.items() if p.default is p.empty and p.kind not in starred and n not in before]
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in before.values()):
        needed = []
    unlike = []
    was, now = next(iter(before), ""), next(iter(after), "")
    moved = was in named and now and was not in after and now not in before and after[now].kind not in starred
    if moved and needed in ([], [now]):
        unlike.append(f"`{was}` is called `{now}`")
        lost, needed = [name for name in lost if name != was], []
    if lost:
        unlike.append(f"without {', '.join(f'`{name}`' for name in lost)}")
    if needed:
        unlike.append(f"needs {', '.join(f'`{name}`' for name in needed)}")
    for name in named.keys() & after.keys():
        default, other = named[name].default, after[name].default
        if isinstance(default, SIMPLE) and isinstance(other, SIMPLE) and default != other:
            unlike.append(f"`{name}` is `{other!r}`, not `{default!r}`")
    return sorted(unlike)
