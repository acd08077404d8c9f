"""``flask_limiter``: Flask-Limiter's names over :mod:`decant.limiter`."""

from __future__ import annotations

from typing import Final

from ... import limiter
from ...faces import face
from ...limiter import commands, constants, errors, util
from ...limiter.contrib import util as contrib
from .table import Module, names

__all__ = ["MODULES"]

_LIMITS: Final = {
    name: face(getattr(limiter, name)) for name in ("Limit", "RouteLimit", "ApplicationLimit", "MetaLimit")
}

MODULES: Final = {
    "flask_limiter": Module(
        {
            "Limiter": face(limiter.Limiter),
            "__version__": "4.1.1",
            "RequestLimit": face(limiter.RequestLimit),
            "RateLimitExceeded": errors.RateLimitExceeded,
            **_LIMITS,
            **names(constants, "ExemptionScope", "HeaderNames"),
        },
        {"extension": "Limiter is in flask_limiter", "wrappers": "limits are in flask_limiter"},
    ),
    "flask_limiter.commands": Module({"cli": commands.cli}),  # `flask` asks for it where Flask-Limiter is installed
    "flask_limiter.constants": Module(
        names(constants, "ConfigVars", "ExemptionScope", "HeaderNames"),
        {"MAX_BACKEND_CHECKS": "a storage that is away is asked again by itself"},
    ),
    "flask_limiter.contrib": Module({}),
    "flask_limiter.contrib.util": Module(names(contrib, *contrib.__all__)),
    "flask_limiter.errors": Module(
        names(errors, "RateLimitExceeded"), {"RuntimeLimit": "an error's .limit says which limit it was"}
    ),
    "flask_limiter.util": Module(
        names(util, "get_remote_address", "get_qualified_name"),
        {"get_ipaddr": "use get_remote_address, which TRUSTED_PROXIES lets look behind proxies"},
    ),
}
