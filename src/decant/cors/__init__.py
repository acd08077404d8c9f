"""Flask-CORS for Quart and Flask: ``CORS`` for applications and blueprints, ``cross_origin`` for single views."""

from __future__ import annotations

from .decorator import cross_origin
from .extension import CORS

__all__ = ["CORS", "cross_origin"]
