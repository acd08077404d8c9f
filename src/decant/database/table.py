"""``db.Table``: a table that needs not be told its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from .extension import SQLAlchemy

__all__ = ["make_table_class"]


def make_table_class(db: SQLAlchemy) -> type[sa.Table]:
    """``db.Table(name, [metadata], *args, bind_key=None)``: without metadata, that of the bind key is taken."""

    class Table(sa.Table):
        def __new__(cls, *args: Any, bind_key: str | None = None, **kwargs: Any) -> Any:
            if args and not (len(args) > 1 and isinstance(args[1], sa.MetaData)):
                args = (args[0], db.make_metadata(bind_key), *args[1:])
            return super().__new__(cls, *args, **kwargs)

        def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
            super().__init__(name, *args, **kwargs)

    return Table
