"""The three strategies over cells in memory: each the counterpart of a table in decide.lua."""

from __future__ import annotations

from bisect import bisect_left
from math import floor
from typing import Final, Protocol

__all__ = ["WINDOWS", "Cell", "Cells", "Fixed", "Moving", "Sliding", "Window"]


class Cell:
    """One key: a count, or the moments of the moving window, the oldest first; ``expires`` since the epoch."""

    __slots__ = ("count", "expires", "moments")

    def __init__(self, expires: float, count: int = 0) -> None:
        self.expires, self.count = expires, count
        self.moments: list[float] = []


class Cells(Protocol):
    """Where cells are."""

    def cell(self, key: str, now: float) -> Cell | None: ...
    def put(self, key: str, cell: Cell) -> None: ...
    def drop(self, key: str) -> Cell | None: ...


class Window:
    """A strategy at one moment; times in seconds."""

    def __init__(self, cells: Cells, now: float) -> None:
        self.cells, self.now = cells, now

    def used(self, key: str, expiry: int) -> int:
        """How much of the limit is used."""
        raise NotImplementedError

    def take(self, key: str, cost: int, amount: int, expiry: int) -> None:
        raise NotImplementedError

    def give_back(self, key: str, cost: int, stamp: str) -> None:
        raise NotImplementedError

    def reset(self, key: str, expiry: int) -> float:
        """When the window, or a part of it, is free again, since the epoch."""
        raise NotImplementedError


class Fixed(Window):
    """It starts with the first that is counted."""

    def used(self, key: str, expiry: int) -> int:
        cell = self.cells.cell(key, self.now)
        return cell.count if cell else 0

    def take(self, key: str, cost: int, amount: int, expiry: int) -> None:
        cell = self.cells.cell(key, self.now)
        if cell is None:
            self.cells.put(key, Cell(self.now + expiry, cost))
        else:
            cell.count += cost

    def give_back(self, key: str, cost: int, stamp: str) -> None:
        cell = self.cells.cell(key, self.now)
        if cell is not None and cell.count >= cost:
            cell.count -= cost

    def reset(self, key: str, expiry: int) -> float:
        cell = self.cells.cell(key, self.now)
        return cell.expires if cell else self.now


class Moving(Window):
    """It has the moment of each that was counted."""

    def _moments(self, key: str, expiry: int) -> list[float]:
        cell = self.cells.cell(key, self.now)
        if cell is None:
            return []
        del cell.moments[: bisect_left(cell.moments, self.now - expiry)]
        return cell.moments

    def used(self, key: str, expiry: int) -> int:
        return len(self._moments(key, expiry))

    def take(self, key: str, cost: int, amount: int, expiry: int) -> None:
        cell = self.cells.cell(key, self.now)
        if cell is None:
            cell = Cell(self.now + expiry)
            self.cells.put(key, cell)
        cell.moments += [self.now] * cost
        cell.expires = self.now + expiry

    def give_back(self, key: str, cost: int, stamp: str) -> None:
        cell, moment = self.cells.cell(key, self.now), float(stamp)
        for _ in range(cost):
            if cell is None or moment not in cell.moments:
                return
            cell.moments.remove(moment)

    def reset(self, key: str, expiry: int) -> float:
        moments = self._moments(key, expiry)
        return (moments[0] if moments else self.now) + expiry


class Sliding(Window):
    """The window before counts in proportion to how much of it the last ``expiry`` seconds still overlap."""

    @staticmethod
    def keys(key: str) -> tuple[str, str]:
        """Of the current window and of the one before."""
        return f"{{{key}}}", f"{{{key}}}/-1"

    def windows(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The count and the seconds left of the window before and of the current one.

        The cell of the current window lives for twice its length: with less than one left, it has become the one
        before.
        """
        current_key, before_key = self.keys(key)
        current = self.cells.cell(current_key, self.now)
        if current is not None and current.expires - self.now < expiry:
            self.cells.put(before_key, current)
            current = Cell(current.expires + expiry)
            self.cells.put(current_key, current)
        before = self.cells.cell(before_key, self.now)
        return (
            before.count if before else 0,
            before.expires - self.now if before else 0.0,
            current.count if current else 0,
            current.expires - self.now if current else 0.0,
        )

    def used(self, key: str, expiry: int) -> int:
        before, before_left, current, _ = self.windows(key, expiry)
        return floor(before * before_left / expiry) + current

    def take(self, key: str, cost: int, amount: int, expiry: int) -> None:
        current_key, _ = self.keys(key)
        cell = self.cells.cell(current_key, self.now)
        if cell is None:
            self.cells.put(current_key, Cell(self.now + 2 * expiry, cost))
        else:
            cell.count += cost

    def give_back(self, key: str, cost: int, stamp: str) -> None:
        cell = self.cells.cell(self.keys(key)[0], self.now)
        if cell is not None and cell.count >= cost:
            cell.count -= cost

    def reset(self, key: str, expiry: int) -> float:
        before, before_left, current, left = self.windows(key, expiry)
        soonest = float(expiry) if before or current else 0.0
        if before:
            soonest = min(soonest, before_left % (expiry / before))
        if current:
            soonest = min(soonest, left - expiry)
        return self.now + soonest


WINDOWS: Final[dict[str, type[Window]]] = {
    "fixed-window": Fixed,
    "moving-window": Moving,
    "sliding-window-counter": Sliding,
}
