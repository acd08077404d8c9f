"""Waiting for the event loop from synchronous code, without blocking it.

SQLAlchemy's asyncio layer runs synchronous code in a greenlet that switches out where it would block. Its
protocol is open: a greenlet with ``__sqlalchemy_greenlet_provider__`` whose parent awaits what it is handed
takes part. Here a whole coroutine runs in such a greenlet (:func:`bridged`), or a function in a thread
(:func:`in_thread`), so that any synchronous call below may :func:`wait`. SQLAlchemy itself is not imported.
"""

from .greenlets import bridged, can_wait, refuse_eager_tasks, wait
from .threads import Threads, current_threads, flow, in_thread, thread_waits

__all__ = [
    "Threads",
    "bridged",
    "can_wait",
    "current_threads",
    "flow",
    "in_thread",
    "refuse_eager_tasks",
    "thread_waits",
    "wait",
]
