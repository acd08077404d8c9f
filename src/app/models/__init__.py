"""The tables."""

from __future__ import annotations

from .digests import Digest
from .imports import Import, ImportChunk, ImportErrors
from .links import Link, Tag, link_tags
from .stats import ClickDay, DrainedBatch
from .users import ApiToken, User

__all__ = [
    "ApiToken",
    "ClickDay",
    "Digest",
    "DrainedBatch",
    "Import",
    "ImportChunk",
    "ImportErrors",
    "Link",
    "Tag",
    "User",
    "link_tags",
]
