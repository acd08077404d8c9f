"""The smallest job: what the documentation begins with."""

from __future__ import annotations

from app.extensions import tasks

__all__ = ["add"]


@tasks.task(name="add")
async def add(x: int | float, y: int | float) -> int | float:
    """``x + y``."""
    return x + y
