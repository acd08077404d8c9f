"""Input that is refused, field by field, for pages and for the JSON API alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["Invalid", "Refused", "check", "plain_text"]

T = TypeVar("T")


class Refused(ValueError):
    """What a rule says of one value: a sentence for the person who gave it."""


class Invalid(Exception):
    """Some fields were refused: ``errors`` has a sentence for each, ``""`` is the form as a whole. Answer 422."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(f"{field}: {text}" for field, text in self.errors.items()))


def check(errors: dict[str, str], field: str, rule: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
    """The value that a rule makes; if it refuses, its sentence goes to ``errors[field]``, and None is returned."""
    try:
        return rule(*args, **kwargs)
    except Refused as refused:
        errors[field] = str(refused)
        return None


def plain_text(value: str, *, most: int, what: str) -> str:
    """One line of text without surrounding blanks, in Unicode's composed form.

    :raises Refused: if it is longer than ``most`` characters or has control characters.
    """
    text = unicodedata.normalize("NFC", value).strip()
    if len(text) > most:
        raise Refused(f"{what} may have at most {most} characters; this one has {len(text)}.")
    # Cc: control, Cs: half a surrogate pair, Zl and Zp: line breaks
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text):
        raise Refused(f"{what} may not have line breaks or control characters.")
    return text
