"""The result of a task that was run on the spot."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

from ...faces import called, io_method, io_property
from .. import states
from ..errors import TaskRevokedError
from .base import ResultBase
from .groupresult import GroupResult

__all__ = ["EagerGroupResult", "EagerResult"]


class EagerResult(ResultBase):
    """What :meth:`Task.apply` came to: :class:`AsyncResult`'s reading API, awaited as that one, with nothing to wait
    for.
    """

    def __init__(
        self,
        id: str,  # noqa: A002
        ret_value: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
        children: list[Any] | None = None,
        args: list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        retries: int = 0,
    ) -> None:
        self.id, self._value, self._state, self._traceback, self.task_name = id, ret_value, state, traceback, name
        self._children, self._args, self._kwargs, self._retries = children or [], args or [], kwargs or {}, retries
        self._done = datetime.now(UTC)

    @property
    def task_id(self) -> str:
        """``id``."""
        return self.id

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    @io_method
    async def get(self, timeout: float | None = None, propagate: bool = True, callback: Any = None, **_: Any) -> Any:
        """The value; a failure is raised, unless ``propagate`` is false."""
        if propagate and self._state in states.PROPAGATE_STATES:
            raise self._value if isinstance(self._value, BaseException) else TaskRevokedError("revoked")
        if callback is not None:
            await called(callback, self.id, self._value)
        return self._value

    @io_method
    async def wait(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> Any:
        """As :meth:`get`."""
        return await self.get(timeout, propagate, **options)

    @io_method
    async def then(self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None) -> EagerResult:
        """Call ``callback(result)``, or ``on_error(result)`` if it failed."""
        function = on_error if self._state in states.PROPAGATE_STATES else callback
        if function is not None:
            await called(function, self)
        return self

    async def iterate(self, timeout: float | None = None, propagate: bool = True) -> AsyncGenerator[Any, None]:
        """Its value, as the only item."""
        yield await self.get(timeout, propagate)

    @io_method
    async def collect(self, timeout: float | None = None, propagate: bool = True) -> list[tuple[Any, Any]]:
        """Pairs of result and value: its own, and those of its callbacks."""
        found = [(self, await self.get(timeout, propagate))]
        for child in self._children:
            found.extend(await child.collect(timeout, propagate))
        return found

    @io_method
    async def ready(self) -> bool:
        """It has always ended."""
        return self._state in states.READY_STATES

    @io_method
    async def successful(self) -> bool:
        """Whether it ended well."""
        return self._state == states.SUCCESS

    @io_method
    async def failed(self) -> bool:
        """Whether it failed."""
        return self._state == states.FAILURE

    @io_method
    async def exists(self) -> bool:
        """It does."""
        return True

    @io_method
    async def revoke(self, *_: Any, **__: Any) -> None:
        """As Celery's: only the state changes, the task has run."""
        self._state = states.REVOKED

    @io_method
    async def forget(self) -> None:
        """There is nothing to forget."""

    @io_property
    async def state(self) -> str:
        """The state."""
        return self._state

    @io_property
    async def status(self) -> str:
        """The state."""
        return self._state

    @io_property
    async def result(self) -> Any:
        """The value, or the exception."""
        return self._value

    @io_property
    async def info(self) -> Any:
        """``result``."""
        return self._value

    @io_property
    async def traceback(self) -> str | None:
        """Where it failed."""
        return self._traceback

    @io_property
    async def date_done(self) -> datetime:
        """When."""
        return self._done

    @io_property
    async def name(self) -> str | None:
        """The task's name."""
        return self.task_name

    @io_property
    async def args(self) -> list[Any]:
        """Its arguments."""
        return self._args

    @io_property
    async def kwargs(self) -> dict[str, Any]:
        """Its arguments by keyword."""
        return self._kwargs

    @io_property
    async def worker(self) -> None:
        """None."""
        return

    @io_property
    async def queue(self) -> None:
        """None."""
        return

    @io_property
    async def retries(self) -> int:
        """How often it was run again."""
        return self._retries

    @io_property
    async def children(self) -> list[Any]:
        """The results of its callbacks, and of what it has asked for."""
        return self._children


class EagerGroupResult(GroupResult):
    """What a group came to that was run on the spot."""

    @io_method
    async def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        callback: Any = None,
        **_: Any,
    ) -> list[Any]:
        """The values of all, in order; the first failure is raised."""
        return [await one.get(timeout, propagate) for one in self.results]

    async def iterate(self, timeout: float | None = None, propagate: bool = True) -> AsyncGenerator[Any, None]:
        """The values."""
        for value in await self.get(timeout, propagate):
            yield value

    async def _states(self) -> list[str]:
        return [await one.state for one in self.results]

    @io_property
    async def state(self) -> str:
        """``SUCCESS`` if all ended well."""
        return states.SUCCESS if await self.successful() else states.FAILURE

    @io_method
    async def revoke(self, connection: Any = None, terminate: bool = False, signal: Any = None, **_: Any) -> None:
        """As :meth:`EagerResult.revoke`."""
        for one in self.results:
            await one.revoke()

    @io_method
    async def forget(self) -> None:
        """There is nothing to forget."""
