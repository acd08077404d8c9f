"""One body of code for both frameworks: awaited in Quart's context, a plain value in Flask's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from werkzeug import exceptions

from ..bridge import bridged
from ..context import current_app, has_app, on_quart

__all__ = ["abort", "in_flask", "value_or_awaitable"]

T = TypeVar("T")


def in_flask() -> bool:
    """Whether the active application is Flask's, whose code cannot await."""
    return has_app() and not on_quart(current_app())


def value_or_awaitable(work: Callable[[], Any], *, always_await: bool = False) -> Any:
    """What ``work`` returns in a Flask context; elsewhere a coroutine that runs it in a bridge."""
    if in_flask() and not always_await:
        return work()
    return bridged(_call(work))


async def _call(work: Callable[[], T]) -> T:
    return work()


def abort(code: int, description: str | None = None) -> NoReturn:
    """End the request with a status, as the application's own ``abort`` does."""
    if has_app():
        current_app().aborter(code, description=description)
    exceptions.abort(code, description=description)
