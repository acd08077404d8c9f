"""A circuit breaker: after some failures in a row it refuses calls at once, and lets one through now and then."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Literal

from ..errors import RedisUnavailable

__all__ = ["Breaker", "State"]

State = Literal["closed", "open", "half-open"]
logger = logging.getLogger("decant.redis")


class Breaker:
    """Closed: calls pass. Open: they are refused for ``reset_s``. Half-open: one call probes, the others are refused.

    :param failures: how many in a row open it.
    :param reset_s: how long it stays open before a call may probe.
    :param probe_s: a probe that has said nothing for so long is given up, and another may go.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int = 5,
        reset_s: float = 1.0,
        probe_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[State], object] = lambda state: None,
    ) -> None:
        self.name, self._limit, self._reset_s, self._probe_s = name, failures, reset_s, probe_s
        self._clock, self._changed = clock, changed
        self.state: State = "closed"
        self.refused = 0
        self._failures = 0
        self._next_probe = 0.0

    def check(self) -> None:
        """Let a call pass.

        :raises RedisUnavailable: while open, and while another call probes.
        """
        if self.state == "closed":
            return
        now = self._clock()
        if now >= self._next_probe:
            self._next_probe = now + self._probe_s
            self._become("half-open")
            return
        self.refused += 1
        seconds = max(1, math.ceil(self._next_probe - now))
        raise RedisUnavailable(
            f"{self.name} failed {self._failures} times in a row; not asked again before the next probe",
            retry_after_s=seconds,
        )

    def succeeded(self) -> None:
        """The server answered."""
        self._failures = 0
        if self.state != "closed":
            self._become("closed")
            logger.info("%s answers again", self.name)

    def failed(self, reason: object) -> None:
        """The server did not answer."""
        self._failures += 1
        if self.state == "half-open" or (self.state == "closed" and self._failures >= self._limit):
            self._next_probe = self._clock() + self._reset_s
            if self.state == "closed":
                logger.warning("%s is refused for %s s at a time: %s", self.name, self._reset_s, reason)
            self._become("open")

    def _become(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._changed(state)
