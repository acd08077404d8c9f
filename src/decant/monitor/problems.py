"""What a page or the API answers instead of what was asked for."""

from __future__ import annotations

__all__ = ["NoLedger", "Problem"]


class Problem(Exception):
    """A status of 400 or more, and a sentence that says why."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


class NoLedger(Problem):
    """The application has no ledger (``TASKS_DURABLE = False``), so that there is no history to show."""

    def __init__(self) -> None:
        super().__init__(503, "This application keeps no ledger of its jobs (TASKS_DURABLE = False).")
