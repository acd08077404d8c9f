"""Waiting for the event loop from synchronous code, without blocking it.

SQLAlchemy's asyncio layer runs synchronous code in a greenlet that switches out where it would block. Its
protocol is open: a greenlet with ``__sqlalchemy_greenlet_provider__`` whose parent awaits what it is handed
takes part. Here a whole coroutine runs in such a greenlet (:func:`bridged`), or a function in a thread
(:func:`in_thread`), so that any synchronous call below may :func:`wait`. SQLAlchemy itself is not imported.
"""

from .calls import detached, flow, thread_waits
from .greenlets import bridged, refuse_eager_tasks
from .threads import Threads, current_threads, in_thread
from .waiting import can_wait, wait

__all__ = [
    "Threads",
    "bridged",
    "can_wait",
    "current_threads",
    "detached",
    "flow",
    "in_thread",
    "refuse_eager_tasks",
    "thread_waits",
    "wait",
]
