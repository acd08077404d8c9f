"""The queues of a worker and their weights: how free slots are shared out between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ...errors import ConfigError

__all__ = ["Queues"]

_NAME: Final = re.compile(r"[^\s,=]+")
_HEAVIEST: Final = 1000


class Queues(Mapping[str, int]):
    """Names and weights, the heaviest first; more can be added and taken away while the worker runs.

    While all of them have jobs that wait, a queue of weight 3 gets three slots for each one of a queue of weight 1;
    no queue ever waits for another to be empty, and slots that one cannot use go to the others.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights: dict[str, int] = {}
        self._credit: dict[str, int] = {}
        for name, weight in weights.items():
            self.add(name, weight)
        if not self._weights:
            raise ConfigError("queues", dict(weights), "a worker needs at least one queue")

    @classmethod
    def parse(cls, text: str) -> Queues:
        """Read ``a,b`` or ``a=3,b=1``.

        :raises ConfigError: if a name is missing, given twice, or a weight is no whole number from 1 to 1000.
        """
        weights: dict[str, int] = {}
        for part in text.split(","):
            name, equals, weight = (piece.strip() for piece in part.partition("="))
            if not _NAME.fullmatch(name) or name in weights:
                raise ConfigError("queues", text, "names such as mail,default, or with weights mail=3,default=1")
            if equals and not weight.isdecimal():
                raise ConfigError("queues", text, f"the weight of {name} is a whole number from 1 to {_HEAVIEST}")
            weights[name] = int(weight) if equals else 1
        return cls(weights)

    def __getitem__(self, name: str) -> int:
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __repr__(self) -> str:
        return ",".join(f"{name}={weight}" for name, weight in self._weights.items())

    def add(self, name: str, weight: int = 1) -> None:
        """Add a queue, or change its weight.

        :raises ConfigError: if the name or the weight cannot be one.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError("queues", name, "a name without spaces, commas and equals signs")
        if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= _HEAVIEST:
            raise ConfigError("queues", weight, f"the weight of {name} is a whole number from 1 to {_HEAVIEST}")
        weights = {**self._weights, name: weight}
        self._weights = dict(sorted(weights.items(), key=lambda one: -one[1]))
        self._credit.setdefault(name, 0)

    def remove(self, name: str) -> None:
        """Take a queue away; the last one may go too, and then nothing is claimed."""
        self._weights.pop(name, None)
        self._credit.pop(name, None)

    def shares(self, slots: int) -> list[int]:
        """How many of ``slots`` each queue should get, in the queues' order: smooth weighted round-robin, which goes
        on from call to call, so that weights hold for one free slot at a time too.
        """
        if len(self._weights) == 1:
            return [slots]
        shares, total = dict.fromkeys(self._weights, 0), sum(self._weights.values())
        for _ in range(slots):
            for name, weight in self._weights.items():
                self._credit[name] += weight
            chosen = max(self._credit, key=self._credit.__getitem__)
            self._credit[chosen] -= total
            shares[chosen] += 1
        return list(shares.values())
