"""Clicks as they happen, on the pages that are open: over Socket.IO, across web processes."""

from __future__ import annotations

from .clicks import LiveClicks, init_live

__all__ = ["LiveClicks", "init_live"]
