"""``app.conf`` of a Celery application: the settings of :mod:`decant.tasks`, under old names of Celery's too."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any, Final

from ....tasks.keys import DEFAULTS, OLD_NAMES, REPLACED
from ....tasks.settings import Conf, from_app

__all__ = ["CeleryConf", "settings_of"]

_URLS: Final = frozenset({"broker_url", "result_backend"})
_OLD_PREFIXES: Final = (
    ("celeryd_", ("worker_",)),
    ("celerybeat_", ("beat_",)),
    ("celery_", ("", "task_", "result_", "worker_", "event_")),
)
_RENAMED: Final = {
    "celery_result_backend": "result_backend",
    "celery_broker_url": "broker_url",
    "broker": "broker_url",
    "broker_host": "broker_url",
    "celery_task_serializer": "task_serializer",
}


def _is_setting(key: str) -> bool:
    return key in DEFAULTS or key in REPLACED or key in OLD_NAMES or key in _URLS


def _todays(name: str) -> str | None:
    """A setting's name of today; ``None`` for what is none, as the other settings of a Flask application."""
    key = name.lower()
    if key in _RENAMED:
        return _RENAMED[key]
    if _is_setting(key):
        return key
    for prefix, new in _OLD_PREFIXES:
        if key.startswith(prefix):
            rest = key.removeprefix(prefix)
            return next((f"{start}{rest}" for start in new if _is_setting(f"{start}{rest}")), None)
    return None


class CeleryConf(Conf):
    """:class:`decant.tasks.settings.Conf`, which besides keeps what has no effect here, so that it can be read.

    :ivar said: settings of Celery's without effect, and the two URLs.
    """

    said: dict[str, Any]

    def __init__(self, explicit: Any = None, app: Any = None, filled: Any = None, said: Any = None) -> None:
        super().__init__(explicit, app, filled)
        object.__setattr__(self, "said", {} if said is None else said)

    def for_app(self, app: Any) -> Conf:
        """As :meth:`decant.tasks.settings.Conf.for_app`."""
        return CeleryConf(self._explicit, from_app(app.config), self._filled, self.said)

    def __getitem__(self, key: str) -> Any:
        if key in self.said or key in _URLS:
            return self.said.get(key)
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several; of a Flask application's configuration those that are Celery's, the others are passed over.

        :raises ConfigError: if one is wrong.
        """
        ours: dict[str, Any] = {}
        for name, value in dict(*args, **kwargs).items():
            key = _todays(name)
            if key in _URLS or key in REPLACED:
                self.said[str(key)] = value
            elif key is not None:
                ours[key] = value
            elif not name.isupper():  # those are of others: SECRET_KEY
                ours[name] = value
        super().update(ours)


def settings_of(source: Any, namespace: str | None = None) -> dict[str, Any]:
    """What a mapping, module, class or object says, of those names that begin with ``namespace``, without it."""
    is_mapping = isinstance(source, Mapping)
    given = dict(source) if is_mapping else {name: getattr(source, name) for name in dir(source)}
    if namespace:
        start = namespace if namespace.endswith("_") else f"{namespace}_"
        return {name[len(start) :]: value for name, value in given.items() if name.startswith(start)}
    if is_mapping:
        return given
    kinds = (ModuleType, FunctionType, type)
    return {name: value for name, value in given.items() if _todays(name) and not isinstance(value, kinds)}
