"""Cells that a spreadsheet shows as they are: what it would take for a formula gets an apostrophe in front."""

from __future__ import annotations

import re

__all__ = ["guarded", "unguarded"]

# What spreadsheets begin a formula with (OWASP, "CSV Injection"), the full-width forms included.
_FORMULA = "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
# Apostrophes in front of it count as well, so that whatever is guarded comes back as it was.
_GUARDED_ONCE_MORE = re.compile(f"'*{_FORMULA}")
_GUARDED = re.compile(f"'+{_FORMULA}")


def guarded(cell: str) -> str:
    """``=1+1`` → ``'=1+1``; other texts as they are."""
    return f"'{cell}" if _GUARDED_ONCE_MORE.match(cell) else cell


def unguarded(cell: str) -> str:
    """The text that :func:`guarded` was given: ``'=1+1`` → ``=1+1``."""
    return cell[1:] if _GUARDED.match(cell) else cell
