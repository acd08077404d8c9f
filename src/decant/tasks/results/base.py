"""What all results have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

__all__ = ["ResultBase"]


class ResultBase:
    """An id, and the result of what came before."""

    id: str
    parent: ResultBase | None = None

    def nodes(self) -> list[ResultBase]:
        """The results that this one is made of, itself if it is of one job."""
        return [self]

    def ancestors(self) -> Iterator[ResultBase]:
        """Its parent, that one's parent, and so on."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def as_tuple(self) -> tuple[Any, Any]:
        """Celery's form for storing it, ``((id, parent), children)``; ``result_from_tuple`` reads it."""
        parent = None if self.parent is None else self.parent.as_tuple()
        members = None if self.nodes() == [self] else [one.as_tuple() for one in self.nodes()]
        return (self.id, parent), members

    def as_list(self) -> list[str]:
        """The ids of it and what came before, its own first."""
        return [self.id, *(one.id for one in self.ancestors())]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultBase) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    async def get(self, timeout: float | None = None, propagate: bool = True) -> Any:
        """What it came to."""
        raise NotImplementedError

    def iterate(self, timeout: float | None = None, propagate: bool = True) -> AsyncGenerator[Any, None]:
        """What its parts came to, as they end."""
        raise NotImplementedError
