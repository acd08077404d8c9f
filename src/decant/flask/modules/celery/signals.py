"""``celery.signals``: receivers are plain functions, which may wait, and are called in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ....faces import twin_of
from ....faces.values import hand
from ....tasks import signals

__all__ = ["SIGNALS", "Signal"]


class Signal:
    """One of :mod:`decant.tasks.signals`, for code that does not await."""

    def __init__(self, twin: signals.Signal) -> None:
        self._twin = twin

    @property
    def name(self) -> str:
        """Its name."""
        return self._twin.name

    @property
    def receivers(self) -> list[Any]:
        """Those that are connected."""
        return self._twin.receivers

    def __repr__(self) -> str:
        return repr(self._twin)

    def connect(
        self, *args: Any, sender: Any = None, weak: bool = True, dispatch_uid: Any = None, **kwargs: Any
    ) -> Any:
        """As Celery's, also as a decorator. It is kept until it is disconnected, ``weak`` or not."""
        if not args:
            return lambda function: self.connect(function, sender=sender, dispatch_uid=dispatch_uid)
        receiver, *more = args
        sender = more[0] if more else sender
        self._twin.connect(hand(receiver), sender=twin_of(sender), weak=False, dispatch_uid=dispatch_uid)
        return receiver

    def disconnect(self, receiver: Callable[..., Any] | None = None, sender: Any = None, **kwargs: Any) -> bool:
        """As Celery's."""
        given = None if receiver is None else hand(receiver)
        return self._twin.disconnect(given, sender=twin_of(sender), dispatch_uid=kwargs.get("dispatch_uid"))

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether a signal of ``sender`` would be heard."""
        return self._twin.has_listeners(twin_of(sender))


SIGNALS: Final = {name: Signal(twin) for name, twin in signals.all_signals.items()}
