"""The parent of the serving processes: keeps them, replaces them one by one, and ends them in time.

It holds the listening sockets and never reads from them: a connection that comes while a process is being replaced
waits in the kernel's queue for the next.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from ...errors import CommandError
from .options import Options
from .worker import Worker

__all__ = ["Supervisor"]

_STABLE_AFTER_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_SAME_REQUEST_S = 0.25
_ACCEPTED_BY_S = 0.2
T = TypeVar("T")


class _Slot:
    """One of the places that a process is kept in; whoever puts another there holds the lock."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.lock = worker, asyncio.Lock()
        self._pause_s, self._wake = 0.0, asyncio.Event()

    def next_pause(self) -> float:
        """Seconds to wait before the next start: none after a long life, then more and more."""
        if self.worker.age_s > _STABLE_AFTER_S and self.worker.was_ready:
            self._pause_s = 0.0
        pause_s = self._pause_s
        self._pause_s = min(max(_FIRST_PAUSE_S, pause_s * 2), _LONGEST_PAUSE_S)
        return pause_s * random.uniform(0.8, 1.2)

    async def pause(self, seconds: float) -> None:
        """Wait, but not for longer than until :meth:`forgive`."""
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    def forgive(self) -> None:
        """Forget that processes ended too soon."""
        self._pause_s = 0.0
        self._wake.set()


class _Owned:
    """Tasks that end with the block."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def __aenter__(self) -> _Owned:
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


class Supervisor:
    """One run of ``decant serve``.

    :param sockets: those that the processes listen on.
    :param say: writes a line of the command's own.
    :param on_start: called once, with what the first process says of itself, when all are ready.
    """

    def __init__(
        self,
        options: Options,
        sockets: Sequence[socket.socket],
        environment: Mapping[str, str],
        say: Callable[[str], None],
        on_start: Callable[[dict[str, Any]], None],
    ) -> None:
        self.options, self.sockets, self.environment = options, sockets, environment
        self.say, self.on_start = say, on_start
        self.asked_to_stop, self.asked_to_reload = asyncio.Event(), asyncio.Event()
        self.asked_at = 0.0
        self.slots: list[_Slot] = []
        self.alive: set[Worker] = set()

    async def run(self) -> int:
        """Serve until told to stop.

        :raises CommandError: if the processes do not come up.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self.asked_to_reload.set)
        serving = asyncio.create_task(self._serve())
        stop = asyncio.create_task(self.asked_to_stop.wait())
        try:
            await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        finally:
            for task in (serving, stop):
                task.cancel()
            await asyncio.wait([serving])
            await self._stop_all()
        return 0

    def _told_to_stop(self) -> None:
        now = time.monotonic()
        if self.asked_to_stop.is_set() and now - self.asked_at > _SAME_REQUEST_S:
            for worker in self.alive:
                worker.kill()
            self.say("stopped at once")
            os._exit(130)
        if not self.asked_to_stop.is_set():
            self.asked_at = now
            self.asked_to_stop.set()

    async def _serve(self) -> None:
        """The first process alone, so that what is wrong is told once; then the others, and all are kept."""
        facts = await self._add()
        async with _Owned() as tasks:
            for other in [tasks.start(self._add()) for _ in range(self.options.workers - 1)]:
                await other
            self.on_start(facts)
            for slot in self.slots:
                tasks.start(self._keep(slot))
            while True:
                await self.asked_to_reload.wait()
                self.asked_to_reload.clear()
                await self._reload()

    async def _add(self) -> dict[str, Any]:
        worker, facts = await self._started()
        self.slots.append(_Slot(worker))
        return facts

    async def _started(self) -> tuple[Worker, dict[str, Any]]:
        """A process that is ready."""
        worker = await Worker.start(self.options, self.environment)
        self.alive.add(worker)
        try:
            return worker, await worker.ready()
        except CommandError:
            self.alive.discard(worker)
            raise

    async def _keep(self, slot: _Slot) -> None:
        """Start another process whenever one ends that was not replaced."""
        while True:
            worker = slot.worker
            await worker.ended()
            if worker is slot.worker:
                self.alive.discard(worker)
                await self._restart(slot, worker)

    async def _restart(self, slot: _Slot, gone: Worker) -> None:
        why = f"{gone} {gone.end()}"
        while True:
            pause_s = slot.next_pause()
            self.say(f"{why}: another is started" + (f" in {pause_s:.1f} s" if pause_s else ""))
            await slot.pause(pause_s)
            async with slot.lock:
                if slot.worker is not gone:  # a reload was quicker
                    return
                try:
                    slot.worker, _ = await self._started()
                except CommandError as error:
                    why = str(error)
                    continue
            self.say(f"{slot.worker} serves")
            return

    async def _reload(self) -> None:
        """Replace one process after another: the new one serves before the old one is told to stop."""
        self.say(f"reloading {len(self.slots)} process{'es' if len(self.slots) > 1 else ''}")
        for slot in self.slots:
            async with slot.lock:
                try:
                    fresh, _ = await self._started()
                except CommandError as error:
                    self.say(f"the reload ends here, what runs goes on: {error}")
                    return
                old, slot.worker = slot.worker, fresh
                slot.forgive()
                await self._stop(old)
        self.say("reloaded")

    async def _stop(self, worker: Worker) -> None:
        if not await worker.stop(self.options.drain_s):
            self.say(f"{worker} had not ended after {self.options.drain_s:g} s and was killed")
        self.alive.discard(worker)

    async def _stop_all(self) -> None:
        async with _Owned() as tasks:
            stopping = [tasks.start(self._stop(worker)) for worker in self.alive]
            if stopping:
                await asyncio.wait(stopping, timeout=_ACCEPTED_BY_S)
            self._refuse()
            for task in stopping:
                await task

    def _refuse(self) -> None:
        """From now on who comes is refused at once, and may go elsewhere."""
        for sock in self.sockets:
            if self.options.server == "granian":  # which has no others left, and would not bear the end of this one
                sock.close()
            else:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
