"""Which session a call means: that of where it is made, wherever it is awaited.

So ``await asyncio.gather(one.delay(), two.delay())`` is a part of the caller's transaction, although ``gather`` awaits
each in a task of its own, and tasks have sessions of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from ..bridge import flow
from .joining import CALLED, present

__all__ = ["of_the_caller"]

F = TypeVar("F", bound=Callable[..., Any])


def of_the_caller(method: F) -> F:
    """Let the jobs that an ``async`` method asks for join the session of whoever calls it."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        session = present()
        if session is None:
            return method(*args, **kwargs)
        return _awaited(flow(), session, method, args, kwargs)

    if hasattr(inspect, "markcoroutinefunction"):  # Python 3.12
        inspect.markcoroutinefunction(call)
    return cast("F", call)


async def _awaited(caller: Any, session: Any, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    if flow() is caller:
        return await method(*args, **kwargs)
    token = CALLED.set(session)
    try:
        return await method(*args, **kwargs)
    finally:
        CALLED.reset(token)
