"""Where in an application something happened: the innermost line that belongs to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, NamedTuple

from greenlet import getcurrent, greenlet

__all__ = ["Place", "find_place"]

_LIBRARIES: Final = frozenset(
    [
        "decant",
        "sqlalchemy",
        "greenlet",
        "asyncio",
        "contextlib",
        "concurrent",
        "functools",
        "threading",
        "jinja2",
        "quart",
        "flask",
        "werkzeug",
    ]
)


class Place(NamedTuple):
    """A line of a source file, or of a template."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} ({self.function})"


def find_place(is_ours: Callable[[str], bool] | None = None) -> Place | None:
    """The innermost line outside of libraries, through the greenlets of a bridge too.

    :param is_ours: tells by a module's name whether it belongs to the application.
    """
    for frame in _frames():
        module = str(frame.f_globals.get("__name__", ""))
        template = frame.f_globals.get("__jinja_template__")
        if template is not None:
            return Place(
                template.filename or template.name, template.get_corresponding_lineno(frame.f_lineno), "template"
            )
        if is_ours(module) if is_ours else module.partition(".")[0] not in _LIBRARIES:
            return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    return None


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    current: Any = getcurrent()
    while frame is not None:
        yield frame
        frame = frame.f_back
        while frame is None and isinstance(current, greenlet):
            current = current.parent
            frame = None if current is None else current.gr_frame
