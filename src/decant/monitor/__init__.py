"""Flower's pages and API for :mod:`decant.tasks`, as a blueprint of the application."""

from __future__ import annotations

from .extension import Monitor

__all__ = ["Monitor"]
