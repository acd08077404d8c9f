"""On which event loop a job is looked after: the caller's, or one that this module keeps in a thread."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading

from ..bridge import can_wait, flow

__all__ = ["loop_for", "own_loop"]

_STOP_S = 1.0


class _LoopThread:
    """An event loop in a daemon thread, for callers that have none which outlives their call."""

    def __init__(self) -> None:
        self.pid, self.loop = os.getpid(), asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="decant-executor-loop", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def stop(self) -> None:
        if self.pid == os.getpid() and self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(_STOP_S)


_lock = threading.Lock()
_kept: _LoopThread | None = None


def own_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process's thread for jobs; another one after a fork."""
    global _kept
    with _lock:
        if _kept is None or _kept.pid != os.getpid():
            _kept = _LoopThread()
            atexit.register(_kept.stop)  # after the pools of threads, whose jobs may still wait for it
        return _kept.loop


def loop_for(is_quart: bool) -> asyncio.AbstractEventLoop:
    """The loop that the caller belongs to, from a thread that Decant started, too; else :func:`own_loop`.

    A loop that ends with the caller will not do: that of a script's ``wait``, or of an async view in plain Flask.
    """
    running = asyncio._get_running_loop()
    if running is None and not can_wait():
        return own_loop()  # a thread that may not wait for the loop
    if running is not None and not is_quart and not can_wait():
        return own_loop()
    try:
        here = flow()
    except RuntimeError:  # a callback of the loop
        return running or own_loop()
    return own_loop() if isinstance(here, asyncio.Runner) else here.get_loop()


def _forget() -> None:
    """In a forked child, whose parent may have held the lock."""
    global _lock, _kept
    _lock, _kept = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)
