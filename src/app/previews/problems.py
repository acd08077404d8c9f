"""Why there is no preview: for good, for now, or because of us."""

from __future__ import annotations

__all__ = ["Busy", "NoPreview", "TryAgain"]


class NoPreview(Exception):
    """The page has none, and trying again would not help. The text is a sentence for the link's owner."""


class TryAgain(Exception):
    """The page could not be had now. The text is a sentence for the link's owner."""


class Busy(Exception):
    """As many pages of this host as may be are being fetched."""
