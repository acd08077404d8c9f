"""The tables."""

from __future__ import annotations

from .links import Link, Tag, link_tags
from .stats import ClickDay, DrainedBatch
from .users import ApiToken, User

__all__ = ["ApiToken", "ClickDay", "DrainedBatch", "Link", "Tag", "User", "link_tags"]
