"""What is typed into the search box: Flower's language, made into a condition in SQL.

Words and quoted phrases, ``field:value``, ``AND`` (which is also meant where nothing stands between two terms), ``OR``
and parentheses. A word is looked for, whatever its case, in a job's task, id, worker and arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

__all__ = ["FIELDS", "SearchError", "condition"]

MAX_LENGTH: Final = 2048
MAX_TOKENS: Final = 128
MAX_DEPTH: Final = 5

_TEXT: Final = "strpos(lower({}), {}) > 0"
FIELDS: Final = {
    "name": _TEXT.format("task", "{}"),
    "task": _TEXT.format("task", "{}"),
    "id": _TEXT.format("id::text", "{}"),
    "worker": _TEXT.format("coalesce(worker, '')", "{}"),
    "queue": _TEXT.format("queue", "{}"),
    "args": _TEXT.format("summary", "{}"),
    "kwargs": _TEXT.format("summary", "{}"),
    "state": "{} IN (lower(state), lower(custom_state))",
    # What it returned is msgpack, in which texts are as they are. Long ones would have to be fetched from elsewhere.
    "result": "octet_length(result) <= 8192 AND position(convert_to({}, 'UTF8') IN result) > 0",
}
"""Name → what it means in SQL; Flower's fields, and ``task``, ``id`` and ``queue``."""
_ANYWHERE: Final = ("task", "id", "worker", "args")
_TOKEN: Final = re.compile(r'\s*(?:([()])|(?:(\w+):)?"([^"]*)"|(\w+):([^\s()"]+)|([^\s()"]+))')


class SearchError(ValueError):
    """What was typed cannot be searched for; the message says what is wrong, in a sentence for its author."""


def condition(text: str, parameter: Callable[[Any], str]) -> str:
    """The condition in SQL on a row of ``decant_jobs``.

    :param parameter: takes a value for the statement and gives its ``$1``.
    :raises SearchError: for what the language does not have.
    """
    if len(text) > MAX_LENGTH:
        raise SearchError(f"The search has {len(text)} characters: at most {MAX_LENGTH} are allowed.")
    return _Parser(_tokens(text), parameter).parse()


def _tokens(text: str) -> list[tuple[str, str]]:
    """Pairs of a kind, ``(``, ``)``, ``and``, ``or``, ``word`` or a field's name, and a text."""
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise SearchError('A quotation mark is open: close it with another ".')
        found.append(_token(match))
        at = match.end()
        if len(found) > MAX_TOKENS:
            raise SearchError(f"The search has more than {MAX_TOKENS} words, which is too long.")
    return found


def _token(match: re.Match[str]) -> tuple[str, str]:
    bracket, quoted_field, quoted, field, value, word = match.groups()
    if bracket:
        return bracket, bracket
    if word in ("AND", "OR"):
        return word.lower(), word
    if word is not None and (word == "NOT" or (word.startswith("-") and len(word) > 1)):
        raise SearchError(f"{word!r}: leaving out what matches (NOT, -word) is not possible. Search for what is there.")
    name = quoted_field or field
    if name and name.lower() not in FIELDS:
        if quoted is None:  # as in 10:30, or a URL
            return "word", f"{name}:{value}"
        raise SearchError(f"There is no field {name!r}: the fields are {', '.join(FIELDS)}.")
    text = quoted if quoted is not None else value if value is not None else word
    return (name.lower() if name else "word"), text


class _Parser:
    """Recursive descent: terms, joined by AND, joined by OR."""

    def __init__(self, tokens: list[tuple[str, str]], parameter: Callable[[Any], str]) -> None:
        self.tokens, self.parameter, self.at = tokens, parameter, 0

    def parse(self) -> str:
        if not self.tokens:
            return "true"
        sql = self._either(0)
        if self.at < len(self.tokens):
            raise SearchError("There is a closing parenthesis too many.")
        return sql

    def _kind(self) -> str | None:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else None

    def _either(self, depth: int) -> str:
        parts = [self._all(depth)]
        while self._kind() == "or":
            self.at += 1
            parts.append(self._all(depth))
        return f"({' OR '.join(parts)})"

    def _all(self, depth: int) -> str:
        parts = [self._term(depth)]
        while self._kind() not in (None, "or", ")"):
            if self._kind() == "and":
                self.at += 1
            parts.append(self._term(depth))
        return f"({' AND '.join(parts)})"

    def _term(self, depth: int) -> str:
        if self._kind() in (None, "and", "or", ")"):
            raise SearchError("Something is missing beside AND, OR or a parenthesis.")
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind != "(":
            return self._match(kind, text)
        if depth >= MAX_DEPTH:
            raise SearchError(f"Parentheses are nested more than {MAX_DEPTH} deep.")
        inner = self._either(depth + 1)
        if self._kind() != ")":
            raise SearchError("A parenthesis is open: close it.")
        self.at += 1
        return inner

    def _match(self, kind: str, text: str) -> str:
        text = text.replace("\0", "")  # PostgreSQL's text has none
        if kind == "result":
            return f"({FIELDS[kind].format(self.parameter(text))})"
        given = self.parameter(text.lower())
        names = _ANYWHERE if kind == "word" else (kind,)
        return f"({' OR '.join(FIELDS[name].format(given) for name in names)})"
