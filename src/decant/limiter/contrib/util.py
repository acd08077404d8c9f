"""Behind Cloudflare."""

from __future__ import annotations

from ...context import current_app, current_request
from ..util import get_remote_address, is_trusted, trusted_proxies

__all__ = ["get_remote_address_cloudflare"]


def get_remote_address_cloudflare() -> str:
    """The address in ``CF-Connecting-IP``.

    Follows Flask-Limiter's. What differs: without the header it is :func:`~decant.limiter.util.get_remote_address`'s
    and no error; and where ``TRUSTED_PROXIES`` is set, it is believed from these only.
    """
    request = current_request()
    trusted = trusted_proxies(current_app().config)
    found = request.headers.get("CF-Connecting-IP")
    if found and (not trusted or is_trusted(request.remote_addr or "", trusted)):
        return str(found)
    return get_remote_address()
