"""Refused input as ``application/problem+json``, with one entry for every field that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from quart import Blueprint
from quart.typing import ResponseReturnValue

from ..links.service import SlugTaken
from ..web.errors import problem
from ..web.forms import Invalid

__all__ = ["Rejected", "init_errors", "pointer"]

_LONGEST_STEP = 100


class Rejected(Exception):
    """Some fields of the body (``pointer``) or parameters of the query (``parameter``) are wrong. Answer 422."""

    def __init__(self, errors: Sequence[dict[str, str]]) -> None:
        self.errors = list(errors)
        super().__init__(f"{len(self.errors)} fields were refused")


def pointer(*path: str | int) -> str:
    """A JSON pointer as the fragment of a URI (RFC 6901): ``#/tags/0``."""
    steps = (str(step)[:_LONGEST_STEP].replace("~", "~0").replace("/", "~1") for step in path)
    return "#" + "".join("/" + quote(step, safe="~!$&'()*+,;=:@", errors="replace") for step in steps)


def _fields(invalid: Invalid) -> list[dict[str, str]]:
    return [{"detail": text, "pointer": pointer(name) if name else pointer()} for name, text in invalid.errors.items()]


def init_errors(blueprint: Blueprint) -> None:
    """Answer what the rules of the pages refuse, and what the API's own schemas refuse, in the same form."""

    @blueprint.errorhandler(SlugTaken)
    async def taken(error: SlugTaken) -> ResponseReturnValue:
        return problem(409, "Conflict", error.errors["slug"], errors=_fields(error))

    @blueprint.errorhandler(Invalid)
    async def invalid(error: Invalid) -> ResponseReturnValue:
        return _refuse(_fields(error))

    @blueprint.errorhandler(Rejected)
    async def rejected(error: Rejected) -> ResponseReturnValue:
        return _refuse(error.errors)


def _refuse(errors: list[dict[str, str]]) -> ResponseReturnValue:
    return problem(422, "Unprocessable Content", "Some of what was sent was refused: see errors.", errors=errors)
