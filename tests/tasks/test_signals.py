"""Celery's signals, with receivers that may be async."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from decant.tasks import signals
from decant.tasks.signals import Signal, all_signals


class Sender:
    name = "app.add"


async def test_receivers_get_signal_sender_and_what_is_said_by_keyword() -> None:
    signal, seen = Signal("x", "value"), []

    @signal.connect
    def plain(sender: Any = None, value: Any = None, **kwargs: Any) -> str:
        seen.append((sender, value, kwargs["signal"]))
        return "plain"

    @signal.connect(weak=False)
    async def later(value: Any, **kwargs: Any) -> str:
        return f"later {value}"

    assert await signal.send(sender="s", value=1) == [(plain, "plain"), (later, "later 1")]
    assert seen == [("s", 1, signal)]
    assert signal.receivers == [plain, later]


async def test_one_that_raises_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    signal = Signal("x")

    @signal.connect
    async def broken(**kwargs: Any) -> None:
        raise ValueError("mine")

    @signal.connect
    def sound(**kwargs: Any) -> int:
        return 1

    (_, error), (_, value) = await signal.send()
    assert isinstance(error, ValueError)
    assert value == 1
    assert "of the signal x failed" in caplog.text


async def test_a_sender_is_a_task_or_its_name() -> None:
    signal, seen, task = Signal("x"), [], Sender()

    def by_name(**kwargs: Any) -> None:
        seen.append("name")

    def by_task(**kwargs: Any) -> None:
        seen.append("task")

    signal.connect(by_name, sender="app.add")
    signal.connect(by_task, sender=task)
    await signal.send(sender=task)
    await signal.send(sender="app.add")
    await signal.send(sender="app.other")
    await signal.send()
    assert seen == ["name", "task", "name", "task"]
    assert signal.has_listeners("app.add")
    assert not signal.has_listeners("app.other")


async def test_receivers_are_kept_weakly_unless_told_otherwise() -> None:
    signal = Signal("x")

    class Owner:
        def heard(self, **kwargs: Any) -> None: ...

    owner = Owner()
    signal.connect(owner.heard)
    signal.connect(lambda **kwargs: None)
    signal.connect(lambda **kwargs: None, weak=False)
    gc.collect()
    assert len(signal.receivers) == 2
    del owner
    gc.collect()
    assert len(await signal.send()) == 1


async def test_connecting_twice_is_once_and_disconnecting_ends_it() -> None:
    signal = Signal("x")

    def receiver(**kwargs: Any) -> None: ...

    signal.connect(receiver)
    signal.connect(receiver)
    assert len(await signal.send()) == 1
    assert signal.disconnect(receiver)
    assert not signal.disconnect(receiver)
    assert not signal
    signal.connect(receiver, dispatch_uid="u")
    signal.connect(lambda **kwargs: None, dispatch_uid="u", weak=False)
    assert signal.receivers == [receiver]
    assert signal.disconnect(dispatch_uid="u")


def test_a_receiver_that_could_not_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must take \*\*kwargs"):
        Signal("x").connect(lambda sender: None)
    with pytest.raises(TypeError, match="is a function, not int"):
        Signal("x").connect(5)  # type: ignore[arg-type]


def test_all_of_celerys_that_mean_something_are_there() -> None:
    assert all_signals["task_prerun"] is signals.task_prerun
    assert len(all_signals) == 27
    assert signals.task_failure.providing_args == {"task_id", "exception", "args", "kwargs", "traceback", "einfo"}
