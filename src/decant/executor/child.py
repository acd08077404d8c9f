"""What a worker process does: one call after the other, until its parent has gone."""

from __future__ import annotations

import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from inspect import isawaitable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .. import bridge
from ..processes import end_with_parent

__all__ = ["called", "main"]


def main(pipe: Connection) -> None:
    """Take each pickled function without arguments, say so, and answer with ``(value, error, traceback)``, pickled."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the parent, which then ends this
    threading.Thread(target=end_with_parent, daemon=True).start()
    while True:
        try:
            work = pipe.recv_bytes()
            pipe.send_bytes(b"taken")
        except (EOFError, OSError):
            return
        pipe.send_bytes(_answer(work))


def called(function: Callable[[], Any]) -> Any:
    """What it returns; a coroutine is run."""
    value = function()
    return bridge.wait(value) if isawaitable(value) else value


def _answer(work: bytes) -> bytes:
    try:
        value = called(pickle.loads(work))  # from our parent  # noqa: S301
        return bytes(ForkingPickler.dumps((value, None, "")))
    except BaseException as error:  # belongs to who asks for the result
        text = traceback.format_exc()
        try:
            answer = bytes(ForkingPickler.dumps((None, error, text)))
            pickle.loads(answer)  # an exception may be pickled, and then not be made again  # noqa: S301
        except Exception:
            return bytes(ForkingPickler.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), text)))
        return answer
