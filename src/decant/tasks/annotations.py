"""Enumerations and dataclasses as arguments: taken apart and put together by the task's own annotations.

No class is ever looked up by a name that came with a job.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Protocol

__all__ = ["adapt", "to_plain"]

_Call = tuple[list[Any], dict[str, Any]]


def to_plain(function: Callable[..., Any], args: abc.Iterable[Any], kwargs: Mapping[str, Any]) -> _Call:
    """The arguments as :func:`~decant.tasks.codec.encode` takes them: members of enumerations as their values,
    dataclasses as dictionaries, wherever the annotations of ``function`` name their class.
    """
    return _each(function, args, kwargs, lambda converter, value: converter.plain(value))


def adapt(function: Callable[..., Any], args: abc.Iterable[Any], kwargs: Mapping[str, Any]) -> _Call:
    """The way back, in the worker.

    :raises ValueError: for a value that the enumeration does not have (any more).
    :raises TypeError: if a dataclass does not take the fields.
    """
    return _each(function, args, kwargs, lambda converter, value: converter.made(value))


def _each(
    function: Callable[..., Any],
    args: abc.Iterable[Any],
    kwargs: Mapping[str, Any],
    convert: Callable[[_Converter, Any], Any],
) -> _Call:
    found = _converters(inspect.unwrap(function))
    if found is None:
        return list(args), dict(kwargs)
    positional, rest, named, others = found
    changed = []
    for index, value in enumerate(args):
        converter = positional[index] if index < len(positional) else rest
        changed.append(value if converter is None else convert(converter, value))
    options = {}
    for name, value in kwargs.items():
        converter = named.get(name, others)
        options[name] = value if converter is None else convert(converter, value)
    return changed, options


class _Converter(Protocol):
    def plain(self, value: Any) -> Any: ...
    def made(self, value: Any) -> Any: ...


_Maybe = _Converter | None
_Found = tuple[list[_Maybe], _Maybe, dict[str, _Maybe], _Maybe]


@lru_cache(maxsize=2048)
def _converters(function: Callable[..., Any]) -> _Found | None:
    """By position, for ``*args``, by name, for ``**kwargs``; ``None`` if nothing needs any."""
    positional: list[_Maybe] = []
    named: dict[str, _Maybe] = {}
    rest: _Maybe = None
    others: _Maybe = None
    for parameter in inspect.signature(function).parameters.values():
        converter = _converter(_resolved(parameter.annotation, getattr(function, "__globals__", {})))
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = converter
        elif parameter.kind is parameter.VAR_KEYWORD:
            others = converter
        else:
            named[parameter.name] = converter
            if parameter.kind is not parameter.KEYWORD_ONLY:
                positional.append(converter)
    if rest is others is None and not any(named.values()):
        return None
    return positional, rest, named, others


class _Annotated:
    """Something with one annotation, as ``typing.get_type_hints`` reads them."""

    def __init__(self, annotation: Any) -> None:
        self.__annotations__ = {"value": annotation}


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    """What it names; ``None`` if that cannot be found, as in ``if TYPE_CHECKING``."""
    try:
        return typing.get_type_hints(_Annotated(annotation), globalns=names, localns={})["value"]
    except Exception:
        return None


class _Enum:
    def __init__(self, kind: type[Enum]) -> None:
        self.kind = kind

    def plain(self, value: Any) -> Any:
        return value.value if isinstance(value, self.kind) else value

    def made(self, value: Any) -> Any:
        return value if value is None or isinstance(value, self.kind) else self.kind(value)


class _Dataclass:
    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self._fields: list[tuple[str, _Maybe]] | None = None

    @property
    def fields(self) -> list[tuple[str, _Maybe]]:
        """Asked for late: a dataclass may name itself."""
        if self._fields is None:
            names = vars(inspect.getmodule(self.kind) or types.ModuleType("")) | {self.kind.__name__: self.kind}
            self._fields = [
                (field.name, _converter(_resolved(field.type, names)))
                for field in dataclasses.fields(self.kind)
                if field.init
            ]
        return self._fields

    def plain(self, value: Any) -> Any:
        if type(value) is not self.kind:  # one of a derived class would lose its fields: left to be refused
            return value
        given = [(name, converter, getattr(value, name)) for name, converter in self.fields]
        return {name: item if converter is None else converter.plain(item) for name, converter, item in given}

    def made(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        converters = dict(self.fields)
        given = [(name, converters.get(name), item) for name, item in value.items()]
        return self.kind(**{name: item if one is None else one.made(item) for name, one, item in given})


class _OrOther:
    """It, or something that needs no converting: ``Colour | int``."""

    def __init__(self, one: _Converter) -> None:
        self.one = one

    def plain(self, value: Any) -> Any:
        return self.one.plain(value)

    def made(self, value: Any) -> Any:
        try:
            return self.one.made(value)
        except (ValueError, TypeError):
            return value


class _Items:
    """A list, tuple or set of them."""

    def __init__(self, item: _Converter) -> None:
        self.item = item

    def plain(self, value: Any) -> Any:
        return type(value)(map(self.item.plain, value)) if type(value) in _ITERABLES else value

    def made(self, value: Any) -> Any:
        return type(value)(map(self.item.made, value)) if type(value) in _ITERABLES else value


class _Fixed:
    """A tuple with a type for each place."""

    def __init__(self, items: list[_Maybe]) -> None:
        self.items = items

    def plain(self, value: Any) -> Any:
        return self._each(value, lambda one, item: one.plain(item))

    def made(self, value: Any) -> Any:
        return self._each(value, lambda one, item: one.made(item))

    def _each(self, value: Any, convert: Callable[[_Converter, Any], Any]) -> Any:
        if type(value) not in _ITERABLES or len(value) != len(self.items):
            return value
        pairs = zip(self.items, value, strict=True)
        return type(value)(item if one is None else convert(one, item) for one, item in pairs)


class _Mapping:
    def __init__(self, key: _Maybe, item: _Maybe) -> None:
        self.key, self.item = key, item

    def plain(self, value: Any) -> Any:
        return self._each(value, lambda one, item: one.plain(item))

    def made(self, value: Any) -> Any:
        return self._each(value, lambda one, item: one.made(item))

    def _each(self, value: Any, convert: Callable[[_Converter, Any], Any]) -> Any:
        if not isinstance(value, dict):
            return value
        key, item = self.key, self.item
        return {
            k if key is None else convert(key, k): v if item is None else convert(item, v) for k, v in value.items()
        }


_ITERABLES: Final = frozenset({list, tuple, set, frozenset})
_COLLECTIONS: Final = (*_ITERABLES, abc.Sequence, abc.Iterable, abc.Collection, abc.Set, abc.MutableSequence)


@lru_cache(maxsize=2048)
def _converter(annotation: Any) -> _Maybe:
    """How values of the annotated type are changed; ``None`` if they are not."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, Enum):
            return _Enum(annotation)
        return _Dataclass(annotation) if dataclasses.is_dataclass(annotation) else None
    if hasattr(annotation, "__value__"):  # type Colours = list[Colour]
        return _converter(annotation.__value__)
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _converter(inside[0])
    if origin in (typing.Union, types.UnionType):
        others = [one for one in inside if one is not type(None)]
        found = [one for one in map(_converter, others) if one is not None]
        if len(found) != 1:
            return None  # of two, nobody could say which is meant
        return found[0] if len(others) == 1 else _OrOther(found[0])
    return _of_generic(origin, inside)


def _of_generic(origin: Any, inside: tuple[Any, ...]) -> _Maybe:
    if origin is tuple and inside[-1:] != (...,):
        items = [_converter(one) for one in inside]
        return _Fixed(items) if any(items) else None
    if origin in _COLLECTIONS and inside:
        item = _converter(inside[0])
        return None if item is None else _Items(item)
    if origin in (dict, abc.Mapping, abc.MutableMapping) and len(inside) == 2:
        key, value = map(_converter, inside)
        return None if key is value is None else _Mapping(key, value)
    return None
