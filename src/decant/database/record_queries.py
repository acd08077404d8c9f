"""``SQLALCHEMY_RECORD_QUERIES``: which statements ran in an app context, how long, and from where."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sqlalchemy import Engine, event

from ..context import current_app, current_g, has_app
from .places import find_place

__all__ = ["QueryInfo", "get_recorded_queries", "listen"]

_NAME = "_sqlalchemy_queries"  # in g, as Flask-SQLAlchemy has it


@dataclass
class QueryInfo:
    """One statement: its SQL, its parameters, when it started and ended (``perf_counter`` seconds), and from where."""

    statement: str | None
    parameters: Any
    start_time: float
    end_time: float
    location: str

    @property
    def duration(self) -> float:
        """How long it took, in seconds."""
        return self.end_time - self.start_time


def get_recorded_queries() -> list[QueryInfo]:
    """Those of the current app context, in the order in which they ended; of all its tasks."""
    recorded: list[QueryInfo] = current_g().get(_NAME, [])
    return recorded


def listen(engine: Engine) -> None:
    """Record what an engine executes."""
    event.listen(engine, "before_cursor_execute", _start, named=True)
    event.listen(engine, "after_cursor_execute", _end, named=True)


def _start(context: Any, **_: Any) -> None:
    if has_app():
        context._decant_start_time = perf_counter()


def _end(context: Any, **_: Any) -> None:
    if not has_app():
        return
    end_time, name = perf_counter(), current_app().import_name.partition(".")[0]
    place = find_place(lambda module: module == name or module.startswith(f"{name}."))
    info = QueryInfo(
        context.statement,
        context.parameters,
        getattr(context, "_decant_start_time", end_time),
        end_time,
        str(place) if place else "<unknown>",
    )
    g = current_g()
    if _NAME not in g:
        setattr(g, _NAME, [])
    getattr(g, _NAME).append(info)
