"""Accounts: registering, logging in and out, API tokens."""

from __future__ import annotations

from .current import current_user, login_required
from .views import accounts

__all__ = ["accounts", "current_user", "login_required"]
