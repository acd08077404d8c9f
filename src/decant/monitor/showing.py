"""Arguments, results and progress as text for people: cut before they are laid out, however large or deep they are."""

from __future__ import annotations

from pprint import pformat
from typing import Any, Final

from ..tasks import codec

__all__ = ["laid_out", "masked", "told"]

_ITEMS: Final = 2000
_CHARACTERS: Final = 20_000
_DEEPEST: Final = 24  # pprint goes through all that is inside once for each level
_MASK: Final = "…"


class _Cut:
    """Stands for what is left out."""

    def __repr__(self) -> str:
        return "…"


class _Copy:
    """Copies a value as far as the numbers of items and characters allow."""

    def __init__(self) -> None:
        self.items, self.characters = _ITEMS, _CHARACTERS
        self.complete = True

    def of(self, value: Any, depth: int = 0) -> Any:
        self.items -= 1
        if isinstance(value, dict | list | tuple | set | frozenset):
            return self._inside(value, depth)
        if isinstance(value, str | bytes):
            return self._text(value)
        return value

    def _inside(self, value: Any, depth: int) -> Any:
        if value and (depth >= _DEEPEST or self._spent()):
            return self._cut()
        if isinstance(value, dict):
            return dict(self._pairs(value, depth + 1))
        copies = []
        for item in value:
            if self._spent():
                copies.append(self._cut())
                break
            copies.append(self.of(item, depth + 1))
        return type(value)(copies)

    def _pairs(self, value: dict[Any, Any], depth: int) -> Any:
        for key, item in value.items():
            if self._spent():
                yield self._cut(), self._cut()
                break
            yield self.of(key, depth), self.of(item, depth)

    def _text(self, value: str | bytes) -> Any:
        kept = value[: max(self.characters, 0)]
        self.characters -= len(value)
        if len(kept) < len(value):
            self._cut()
        return kept

    def _spent(self) -> bool:
        return self.items <= 0 or self.characters <= 0

    def _cut(self) -> _Cut:
        self.complete = False
        return _Cut()


def told(data: bytes | None) -> str:
    """What was encoded, for people; cut where it is long, and says so. What cannot be decoded says so too."""
    if data is None:
        return ""
    try:
        return laid_out(codec.decode(data), len(data))
    except Exception as error:
        return f"It cannot be read: {type(error).__name__}: {error}"


def laid_out(value: Any, size: int) -> str:
    """A value that takes ``size`` bytes, on lines of at most 100 characters where that is possible."""
    copy = _Copy()
    text = pformat(copy.of(value), width=100, sort_dicts=False)
    if copy.complete and len(text) <= 2 * _CHARACTERS:
        return text
    return f"{text[: 2 * _CHARACTERS]}\n… This is not all: it takes {size:,} bytes."


def masked(value: Any, depth: int = 0) -> Any:
    """Without the values that have names like those of secrets."""
    if depth > _DEEPEST:
        return _MASK  # told() shows nothing of it
    if isinstance(value, dict):
        return {
            key: _MASK if isinstance(key, str) and codec.is_secret(key) else masked(one, depth + 1)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)([masked(one, depth + 1) for one in value])
    return value
