"""What is run: by ``make contract`` what it was told, in ``make test`` the cases that are quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .running import Implementation

__all__ = ["Selection", "chosen", "set_chosen"]


@dataclass(frozen=True)
class Selection:
    """``implementations`` by name, None: all; ``words``: cases that have any of them in ``module: name``.

    ``logs``: where what the processes write is kept; None: in pytest's own folder.
    """

    implementations: Sequence[Implementation]
    words: Sequence[str] = ()
    quick_only: bool = False
    logs: Path | None = None

    def takes(self, title: str, *, quick: bool) -> bool:
        """Whether a case is run."""
        if self.quick_only and not quick:
            return False
        return not self.words or any(word.lower() in title.lower() for word in self.words)


_chosen: Selection | None = None


def set_chosen(selection: Selection) -> None:
    """For this process."""
    global _chosen
    _chosen = selection


def chosen() -> Selection:
    """What was chosen; the quick part if nothing was."""
    if _chosen is not None:
        return _chosen
    from .implementations import IMPLEMENTATIONS, QUICK

    return Selection([each for each in IMPLEMENTATIONS if each.name in QUICK], quick_only=True)
