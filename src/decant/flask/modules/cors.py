"""``flask_cors``: Flask-CORS's names over :mod:`decant.cors`, which serves Flask as it is."""

from __future__ import annotations

from typing import Final

from ...cors import CORS, core, cross_origin
from .table import Module, names

__all__ = ["MODULES"]

_VERSION: Final = "6.0.5"  # whose interface it has

MODULES: Final = {
    "flask_cors": Module({"CORS": CORS, "cross_origin": cross_origin, "__version__": _VERSION}),
    "flask_cors.core": Module(names(core, *core.__all__)),
    "flask_cors.decorator": Module({"cross_origin": cross_origin}),
    "flask_cors.extension": Module(
        {"CORS": CORS}, {"make_after_request_function": "CORS(app) adds the headers, to error pages as well"}
    ),
    "flask_cors.version": Module({"__version__": _VERSION}),
}
