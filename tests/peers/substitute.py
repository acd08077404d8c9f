"""A pytest plugin for Quart's own tests: ``decant.Quart`` in place of ``quart.Quart``.

``QUART_SUITE_COMPAT=0`` turns ``FLASK_COMPAT`` off in each application.
"""

from __future__ import annotations

import os

import quart
import quart.app
from werkzeug.datastructures import ImmutableDict

import decant.quart

application = decant.quart.Quart
if os.environ.get("QUART_SUITE_COMPAT") == "0":
    application.default_config = ImmutableDict({**application.default_config, "FLASK_COMPAT": False})
quart.Quart = quart.app.Quart = application  # type: ignore[misc]
quart.Blueprint = decant.quart.Blueprint  # type: ignore[misc]
