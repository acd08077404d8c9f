"""Background jobs: Celery's API on arq, with a ledger in PostgreSQL."""

from __future__ import annotations

__all__: list[str] = []
