"""The ledger in PostgreSQL: the truth about every durable job."""

from __future__ import annotations

__all__: list[str] = []
