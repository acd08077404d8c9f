"""What ``decant serve`` is made of: a parent that keeps processes (supervisor), and one of these (process)."""

from __future__ import annotations

__all__: list[str] = []
