"""Warnings that name the line of the user's code that they are about."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside of this library, through however many of its functions that line led here.

    Python shows deprecations of a program's own lines only, so they must not be reported as ours.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "decant":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
