"""Group commit: calls that come while a statement is on its way travel together in the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Final, Generic, TypeVar

from ...errors import DatabaseUnavailable, Overloaded

__all__ = ["MAX_BATCH", "MAX_WAITING", "Batcher"]

T = TypeVar("T")
R = TypeVar("R")
MAX_BATCH: Final = 500
MAX_WAITING: Final = 10_000


class _Call(Generic[T, R]):
    __slots__ = ("deadline", "future", "item", "weight")

    def __init__(self, item: T, weight: int, future: asyncio.Future[R], deadline: float) -> None:
        self.item, self.weight, self.future, self.deadline = item, weight, future, deadline


class Batcher(Generic[T, R]):
    """Collects the calls of one event loop while one batch is on its way; each caller gets its own result.

    What one of them is to blame for (data that PostgreSQL refuses) is found by running each of the batch alone, so that
    it fails its own caller only; a database that is away fails them all.

    :param run: does a batch, and returns as many results.
    :param dropped: is given, with their results, what was done for callers that were cancelled meanwhile.
    :param deadline_s: how long a caller waits at most, waiting for its batch included.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        deadline_s: float,
        dropped: Callable[[list[tuple[T, R]]], Awaitable[None]] | None = None,
    ) -> None:
        self._run, self._deadline_s, self._dropped = run, deadline_s, dropped
        self._waiting: deque[_Call[T, R]] = deque()
        self._unanswered: deque[_Call[T, R]] = deque()  # in the order of their deadlines, which share one timer
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T, weight: int = 1) -> R:
        """Have ``item`` done in the next batch; ``weight`` says how many of :data:`MAX_BATCH` rows it is.

        :raises Overloaded: if :data:`MAX_WAITING` calls wait already.
        :raises DatabaseUnavailable: if the database is away, or the deadline is over.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} calls already wait for the ledger's database")
        loop = asyncio.get_running_loop()
        call: _Call[T, R] = _Call(item, weight, loop.create_future(), loop.time() + self._deadline_s)
        self._waiting.append(call)
        self._unanswered.append(call)
        if self._timer is None:
            self._timer = loop.call_at(call.deadline, self._expire, loop, context=Context())
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._flush(), context=Context())  # not this request's
        return await call.future

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fail those whose deadline is over; the timer goes on while others wait."""
        self._timer, now = None, loop.time()
        late = f"the ledger's database gave no answer within {self._deadline_s:g} s"
        while (call := self._oldest()) is not None:
            if call.deadline > now:
                self._timer = loop.call_at(call.deadline, self._expire, loop)
                return
            call.future.set_exception(DatabaseUnavailable(late))

    def _oldest(self) -> _Call[T, R] | None:
        while self._unanswered and self._unanswered[0].future.done():
            self._unanswered.popleft()
        return self._unanswered[0] if self._unanswered else None

    async def _flush(self) -> None:
        while batch := self._next():
            try:
                await self._one(batch)
            finally:  # nobody waits for what is never done, whatever ended this
                for call in batch:
                    if not call.future.done():
                        call.future.set_exception(DatabaseUnavailable("the ledger was closed"))
                self._oldest()  # forgets the others

    def _next(self) -> list[_Call[T, R]]:
        batch: list[_Call[T, R]] = []
        weight = 0
        while self._waiting and (not batch or weight + self._waiting[0].weight <= MAX_BATCH):
            call = self._waiting.popleft()
            if not call.future.done():  # else its caller is gone
                batch.append(call)
                weight += call.weight
        return batch

    async def _one(self, batch: list[_Call[T, R]]) -> None:
        try:
            results = await self._run([call.item for call in batch])
        except DatabaseUnavailable as error:
            for call in batch:
                if not call.future.done():
                    told = DatabaseUnavailable(str(error))
                    told.__cause__ = error.__cause__
                    call.future.set_exception(told)
        except Exception as error:
            if len(batch) > 1:
                for call in batch:
                    await self._one([call])
            elif not batch[0].future.done():
                batch[0].future.set_exception(error)
        else:
            await self._hand_out(batch, results)

    async def _hand_out(self, batch: list[_Call[T, R]], results: Sequence[R]) -> None:
        unwanted: list[tuple[T, R]] = []
        for call, result in zip(batch, results, strict=True):
            if call.future.done():
                unwanted.append((call.item, result))
            else:
                call.future.set_result(result)
        if unwanted and self._dropped is not None:
            await self._dropped(unwanted)

    async def aclose(self) -> None:
        """Let what is on its way end, within the deadline."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=self._deadline_s)
            self._task.cancel()
        if self._timer is not None and self._oldest() is None:
            self._timer.cancel()
            self._timer = None
