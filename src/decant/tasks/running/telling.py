"""How an attempt ended, as hooks, signals and the log are told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from .. import signals, states
from ..errors import Retry
from .ended import DIED, GIVEN_BACK, Ended
from .hooks import ExceptionInfo, heard, hook, is_own

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["line_of", "tell"]


def line_of(error: BaseException) -> str:
    """An exception in one line."""
    try:
        text = str(error)
    except Exception:
        text = "…"
    return " ".join(f"{type(error).__name__}: {text}".split())[:300]


async def tell(attempt: Attempt, ended: Ended) -> None:
    """Tell those who listen; nothing is made for those who do not."""
    await _Telling(attempt, ended).all()


class _Telling:
    """Hooks, signals and the log."""

    def __init__(self, attempt: Attempt, ended: Ended) -> None:
        self.attempt, self.ended, self.task = attempt, ended, attempt.task
        self.einfo = None if ended.error is None else ExceptionInfo.of(ended.error)

    async def all(self) -> None:
        step = _STEPS.get(self.ended.state)
        if step is not None:
            await step(self)
        if self.task is None:
            return
        request, ended = self.attempt.request, self.ended
        if is_own(self.task, "after_return"):
            told = request.id, request.args, request.kwargs
            await self._hook("after_return", ended.state, ended.retval, *told, self.einfo)
        if signals.task_postrun:
            await heard(
                signals.task_postrun,
                self.task,
                task_id=request.id,
                task=self.task,
                args=request.args,
                kwargs=request.kwargs,
                retval=ended.retval,
                state=ended.state,
            )

    async def _hook(self, name: str, *args: Any) -> None:
        await hook(self.attempt.running.threads, self.task, name, *args)

    def _say(self, level: int, text: str, *args: Any, exc: BaseException | None = None) -> None:
        runtime_s = self.attempt.runtime_s
        self.attempt.log.say(level, f"{text} after %.3f s", *args, runtime_s, exc=exc, runtime_s=runtime_s)

    async def _succeeded(self) -> None:
        self._say(logging.INFO, "succeeded")
        if is_own(self.task, "on_success"):
            request = self.attempt.request
            await self._hook("on_success", self.ended.value, request.id, request.args, request.kwargs)
        if signals.task_success:
            await heard(signals.task_success, self.task, result=self.ended.value)

    async def _failed(self) -> None:
        error, request = self.ended.error, self.attempt.request
        assert error is not None
        expected = self.task is not None and isinstance(error, self.task.options.throws)
        if expected:
            self._say(logging.INFO, "failed as it may: %s", line_of(error))
        else:
            self._say(logging.ERROR, "failed: %s", line_of(error), exc=error)
        if self.task is not None:
            await self._hook("on_failure", error, request.id, request.args, request.kwargs, self.einfo)
        await heard(
            signals.task_failure,
            self.task,
            task_id=request.id,
            exception=error,
            args=request.args,
            kwargs=request.kwargs,
            traceback=error.__traceback__,
            einfo=self.einfo,
        )

    async def _retried(self) -> None:
        retry, request = self.ended.error, self.attempt.request
        assert isinstance(retry, Retry)
        cause = retry.exc or retry
        self._say(logging.INFO, "is retried in %.1f s: %s", self.ended.again_s, line_of(cause))
        await self._hook("on_retry", cause, request.id, request.args, request.kwargs, self.einfo)
        await heard(signals.task_retry, self.task, request=request, reason=retry, einfo=self.einfo)

    async def _revoked(self) -> None:
        self._say(logging.INFO, "is revoked: %s", self.ended.error)
        told = {"terminated": self.ended.terminated, "signum": None, "expired": self.ended.expired}
        await heard(signals.task_revoked, self.task, request=self.attempt.request, **told)

    async def _rejected(self) -> None:
        self._say(logging.WARNING, "is rejected: %s", self.ended.error)
        await heard(signals.task_rejected, self.task, message=str(self.attempt.id), exc=self.ended.error)

    async def _given_back(self) -> None:
        self._say(logging.INFO, "is given back")

    async def _died(self) -> None:
        self._say(logging.ERROR, "was lost: %s", self.ended.error)


_STEPS: Final = {
    states.SUCCESS: _Telling._succeeded,
    states.FAILURE: _Telling._failed,
    states.RETRY: _Telling._retried,
    states.REVOKED: _Telling._revoked,
    states.REJECTED: _Telling._rejected,
    GIVEN_BACK: _Telling._given_back,
    DIED: _Telling._died,
}
