"""What the tests of limits ask of an application."""

from __future__ import annotations

from typing import Any

__all__ = ["statuses"]


async def statuses(client: Any, path: str, times: int, **options: Any) -> list[int]:
    """What so many requests are answered, one after the other."""
    return [(await client.get(path, **options)).status_code for _ in range(times)]
