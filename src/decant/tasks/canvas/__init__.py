"""Calls to be made later, one after another, side by side, or both: Celery's canvas."""

from __future__ import annotations

from .chain import chain
from .chord import chord
from .group import group
from .pieces import chunks, xmap, xstarmap
from .signature import Signature, maybe_signature, signature

__all__ = ["Signature", "chain", "chord", "chunks", "group", "maybe_signature", "signature", "xmap", "xstarmap"]
