"""The JSON API: ``/api/v1``, its description at ``/openapi.json``, its documentation at ``/api/docs``."""

from __future__ import annotations

from .openapi import init_api

__all__ = ["init_api"]
