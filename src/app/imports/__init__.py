"""Links from CSV files, by a background job; links as a CSV file, streamed."""

from __future__ import annotations

from quart import Quart

from .service import Importing
from .views import imports

__all__ = ["init_imports"]


def init_imports(app: Quart) -> None:
    """Give the application its pages of imports, the export, and what the jobs ask for."""
    app.extensions["imports"] = Importing()
    app.register_blueprint(imports)
