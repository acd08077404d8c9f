"""What a request asks of a storage, and what it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from limits import RateLimitItem
from limits.util import WindowStats

__all__ = ["STRATEGIES", "Answer", "Claim", "Decision", "Role", "Storage"]

Role = Literal["hit", "test", "meta", "refund"]
STRATEGIES = ("fixed-window", "moving-window", "sliding-window-counter")


@dataclass(frozen=True, slots=True)
class Claim:
    """What one limit is asked.

    :ivar args: what identifies who is limited, as ``limits`` makes keys of it.
    :ivar role: ``hit`` counts, ``test`` only looks; ``meta`` is looked at first, and counted when a limit is
        breached; ``refund`` was counted by an earlier decision for the same request, and is given back on a breach.
    :ivar owner: of a meta limit: the index of the claim whose breach counts, or -1 for any.
    :ivar stamp: of a refund: the stamp of that earlier decision.
    """

    item: RateLimitItem
    args: tuple[str, ...]
    cost: int = 1
    role: Role = "hit"
    owner: int = -1
    stamp: str = ""

    @property
    def key(self) -> str:
        return self.item.key_for(*self.args)


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one claim: whether it passed, and its window afterwards."""

    passed: bool
    window: WindowStats


@dataclass(frozen=True, slots=True)
class Decision:
    """Of all claims of a request, in their order; ``None`` for those that were not looked at any more."""

    answers: Sequence[Answer | None]
    stamp: str = ""


class Storage(Protocol):
    """Where counters are."""

    async def decide(
        self, claims: Sequence[Claim], strategy: str, *, stops: bool = True, consumes: bool = False
    ) -> Decision:
        """Decide all limits of a request at once.

        :param stops: look no further than the first breach.
        :param consumes: count the claims of a denied request, too, up to the first breach: Flask-Limiter's way.
        """
        ...
