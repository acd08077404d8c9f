"""The front page, and whether the application is well."""

from __future__ import annotations

from .views import pages

__all__ = ["pages"]
