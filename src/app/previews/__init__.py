"""What a link leads to: the title and the description of its page, fetched without reaching into our own network."""

from __future__ import annotations

from .fetching import Fetcher, init_previews
from .heads import Preview
from .problems import Busy, NoPreview, TryAgain

__all__ = ["Busy", "Fetcher", "NoPreview", "Preview", "TryAgain", "init_previews"]
