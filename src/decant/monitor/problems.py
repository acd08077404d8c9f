"""What a page or the API answers instead of what was asked for."""

from __future__ import annotations

from ..errors import DecantError

__all__ = ["Problem"]


class Problem(DecantError):
    """A status of 400 or more, and a sentence that says why."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)
