"""The ledger in PostgreSQL: the truth about every durable job."""

from __future__ import annotations

from .finishing import Finished
from .ledger import Ledger
from .rows import Record
from .sweeping import Swept

__all__ = ["Finished", "Ledger", "Record", "Swept"]
