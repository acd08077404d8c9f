"""An error of the target, in one line: what was raised, and where in the target's own code."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

from ...errors import CommandError

__all__ = ["in_a_line"]

_OURS = str(Path(__file__).parents[2]) + os.sep
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_MOST = 500


def in_a_line(error: BaseException, title: str) -> str:
    """``TARGET 'legacy:app': RuntimeError: no SECRET_KEY (legacy/config.py:14 in load)``."""
    if isinstance(error, CommandError):
        return _short(str(error))
    text = f"{title}: {_named(error)}"
    place = _place(error)
    return _short(text) + (f" ({place})" if place else "")


def _named(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    if isinstance(error, SystemExit):
        return f"it exited with {error.code!r}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename)}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)] or frames
    return f"{_relative(own[-1].filename)}:{own[-1].lineno} in {own[-1].name}" if own else ""


def _is_ours(filename: str) -> bool:
    return filename.startswith((_OURS, "<frozen "))


def _relative(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
