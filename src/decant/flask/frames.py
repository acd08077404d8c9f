"""The frames of a greenlet that runs in another thread, and which of them is the application's own line."""

from __future__ import annotations

import inspect
import linecache
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from ..bridge import greenlets
from .marks import layers

__all__ = ["Frame", "place_of", "show", "walk"]

_MOST: Final = 60
_DRIVE: Final = getattr(greenlets._drive, "__wrapped__", greenlets._drive).__code__
_paths: Final = sysconfig.get_paths()
_LIBRARIES: Final = tuple({f"{_paths[name]}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OURS: Final = f"{Path(__file__).resolve().parents[1]}/"


class Frame(NamedTuple):
    """A line of a source file, or of a template."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def walk(frame: FrameType | None) -> tuple[Frame, ...]:
    """A frame and those that called it, outermost first; at most the 60 innermost. Reads no file: it is quick.

    Where a bridge's own task runs what the greenlet waits for, the greenlet's frames come instead of the task's.
    """
    found: list[Frame] = []
    while frame is not None and len(found) < _MOST:
        found.append(_frame(frame))
        waiting = frame.f_locals.get("bridge") if frame.f_code is _DRIVE else None
        frame = frame.f_back if waiting is None or waiting.gr_frame is None else waiting.gr_frame
    return tuple(reversed(found))


def _frame(frame: FrameType) -> Frame:
    code, template = frame.f_code, frame.f_globals.get("__jinja_template__")
    if template is None:
        return Frame(code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_qualname)
    line = template.get_corresponding_lineno(frame.f_lineno)
    return Frame(template.filename or template.name or "<template>", line, "template")


def place_of(frames: Sequence[Frame], function: Callable[..., Any] | None) -> Frame | None:
    """The innermost line outside of libraries; else that of the view; else where the view begins."""
    start = _start(function)
    for frame in reversed(frames):
        if not frame.file.startswith((*_LIBRARIES, _OURS, "<")):
            return frame
    if start is not None:
        inside = [frame for frame in frames if (frame.file, frame.function) == (start.file, start.function)]
        return inside[-1] if inside else start
    return frames[-1] if frames else None


def show(frames: Sequence[Frame]) -> str:
    """As a traceback has it."""
    lines = []
    for frame in frames:
        lines.append(f'  File "{frame.file}", line {frame.line}, in {frame.function}')
        if source := linecache.getline(frame.file, frame.line).strip():
            lines.append(f"    {source}")
    return "\n".join(lines)


def _start(function: Callable[..., Any] | None) -> Frame | None:
    """Where a view is defined, below its decorators."""
    innermost: Any = None
    for layer in layers(function):
        innermost = layer
    of_class = getattr(innermost, "view_class", None)
    code = getattr(innermost, "__code__", None)
    if of_class is not None:
        try:
            return Frame(inspect.getfile(of_class), inspect.getsourcelines(of_class)[1], of_class.__qualname__)
        except (OSError, TypeError):
            return None
    return None if code is None else Frame(code.co_filename, code.co_firstlineno, code.co_qualname)
