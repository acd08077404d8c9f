"""The blueprint whose commands may be ``async`` and whose files have Flask's headers."""

from __future__ import annotations

from typing import Any

import quart
from quart import current_app

from .cli import AppGroup
from .files import opened, send_from_directory

__all__ = ["Blueprint"]


class Blueprint(quart.Blueprint):
    """``quart.Blueprint`` for :class:`decant.Quart`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cli = AppGroup()
        self.cli.name = self.name

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """The application's."""
        return current_app.get_send_file_max_age(filename)

    async def open_resource(  # type: ignore[override]
        self, resource: Any = None, mode: str = "rb", encoding: str | None = "utf-8", *, path: Any = None
    ) -> Any:
        """The application's, below the blueprint's ``root_path``."""
        return opened(self.root_path, path or resource, mode, encoding, readable_only=True)

    async def send_static_file(self, filename: str) -> Any:
        """The view of the blueprint's static files."""
        if not self.has_static_folder:
            raise RuntimeError("'static_folder' must be set to serve static files")
        return await send_from_directory(self.static_folder, filename, max_age=self.get_send_file_max_age(filename))
