"""``tasks.conf``: Celery's lowercase keys, and ours, checked when they are set.

What is set on ``tasks.conf``, or given to ``Tasks(**conf)``, comes first; then ``TASKS_<KEY>`` and ``CELERY_<KEY>`` of
the application's configuration, and its dictionaries ``TASKS`` and ``CELERY``; then the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, timedelta, tzinfo
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final
from zoneinfo import ZoneInfo

from ..errors import ConfigError
from ..warn import warn
from .keys import DEFAULTS, OLD_NAMES, REPLACED

__all__ = ["Conf", "from_app", "from_object"]

_Explicit = dict[str, Any]
_UNSET: Final = object()
_MUTABLE: Final = (dict, list)


class Conf(MutableMapping[str, Any]):
    """The settings, as attributes and as items: ``conf.timezone``, ``conf["timezone"]``.

    :param explicit: what is set here, kept and shared.
    :param app: what the application's configuration says.
    """

    _explicit: _Explicit
    _app: Mapping[str, Any]
    _filled: _Explicit

    def __init__(
        self, explicit: _Explicit | None = None, app: Mapping[str, Any] | None = None, filled: _Explicit | None = None
    ) -> None:
        object.__setattr__(self, "_explicit", {} if explicit is None else explicit)
        object.__setattr__(self, "_app", app or {})
        object.__setattr__(self, "_filled", {} if filled is None else filled)

    def for_app(self, app: Any) -> Conf:
        """The same settings over those of an application.

        :raises ConfigError: if a value of the application's configuration is wrong.
        """
        return Conf(self._explicit, from_app(app.config), self._filled)

    # -- reading ---------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        value = self._explicit.get(key, _UNSET)
        if value is _UNSET:
            value = self._app.get(key, _UNSET)
        if value is not _UNSET:
            return value
        if key in DEFAULTS:
            default = DEFAULTS[key].default
            if isinstance(default, _MUTABLE):  # it may be filled in place: conf.beat_schedule["nightly"] = {…}
                return self._filled.setdefault(key, default.copy())
            return default
        raise KeyError(_unknown(key))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name if name.startswith("__") else _unknown(name)) from None

    def __iter__(self) -> Iterator[str]:
        return iter({**DEFAULTS, **self._app, **self._explicit})

    def __len__(self) -> int:
        return len({**DEFAULTS, **self._app, **self._explicit})

    def changes(self) -> dict[str, Any]:
        """What differs from the defaults."""
        filled = {key: value for key, value in self._filled.items() if value != DEFAULTS[key].default}
        return {**filled, **self._app, **self._explicit}

    def __repr__(self) -> str:
        return f"<Conf {', '.join(sorted(self.changes()))}>"  # no values: URLs have passwords

    # -- writing ---------------------------------------------------------------------------------------------------

    def __setitem__(self, key: str, value: Any) -> None:
        self._explicit.update(_checked({key: value}, ""))

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delitem__(self, key: str) -> None:
        del self._explicit[key]

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"{name} was not set") from None

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several.

        :raises ConfigError: if one is wrong; none is set then.
        """
        self._explicit.update(_checked(dict(*args, **kwargs), ""))

    # -- what is read often ----------------------------------------------------------------------------------------

    @property
    def result_expires_s(self) -> float | None:
        """How long results are kept, in seconds; ``None``: for ever."""
        value = self["result_expires"]
        return value.total_seconds() if isinstance(value, timedelta) else value

    @property
    def tz(self) -> tzinfo:
        """The time zone."""
        value = self["timezone"]
        if value == "UTC":  # the default, for which no file has to be read
            return UTC
        return ZoneInfo(value) if isinstance(value, str) else value

    @property
    def limit_bytes(self) -> int:
        """The most that the arguments of a job may take."""
        return int(self["max_arguments_kb"] * 1024)


# -- where settings come from --------------------------------------------------------------------------------------


def _checked(values: Mapping[str, Any], prefix: str) -> _Explicit:
    """The values under their keys of today.

    :raises ConfigError: names the key as the user wrote it.
    """
    result: _Explicit = {}
    for written, value in values.items():
        key = _key(written)
        if key in REPLACED:
            warn(f"{prefix}{written} has no effect: {REPLACED[key]}")
        elif key not in DEFAULTS:
            warn(_unknown(f"{prefix}{written}"))
            result[key] = value
        else:
            result[key] = _value(f"{prefix}{written}", DEFAULTS[key].check, value)
    return result


def _value(name: str, check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(name, "…" if "url" in name.lower() else value, str(error)) from None


def _key(written: str) -> str:
    key = written.lower()
    return OLD_NAMES.get(key, key)


def _unknown(key: str) -> str:
    close = get_close_matches(
        key.rpartition(" ")[2].lower().removeprefix("tasks_").removeprefix("celery_"), DEFAULTS, 1
    )
    return f"{key} is no setting of tasks" + (f": did you mean {close[0]}?" if close else "")


def from_app(config: Mapping[str, Any]) -> _Explicit:
    """``TASKS_X`` and ``CELERY_X`` as ``x``, and the dictionaries ``TASKS`` and ``CELERY``; ``TASKS`` comes first.

    :raises ConfigError: if a value is wrong, or one of the dictionaries is none.
    """
    found: _Explicit = {}
    for prefix in ("CELERY", "TASKS"):
        whole = config.get(prefix)
        if isinstance(whole, Mapping):
            found |= _checked(whole, "")
        elif whole is not None:
            raise ConfigError(prefix, whole, "a dictionary of settings is allowed")
        start = f"{prefix}_"
        values = {key[len(start) :]: value for key, value in config.items() if key.startswith(start)}
        found |= _checked(values, start)
    return found


def from_object(source: Any, namespace: str | None = None, *, silent: bool = False) -> _Explicit:
    """Settings of a module, a class, an object, a mapping, or the dotted name of one of them.

    :param namespace: only names that begin with it and ``_`` count, as ``CELERY_TIMEZONE`` with ``"CELERY"``.
    :raises ImportError: if the name cannot be imported, unless ``silent``.
    """
    if isinstance(source, str):
        try:
            source = _imported(source)
        except ImportError:
            if silent:
                return {}
            raise
    given = source if isinstance(source, Mapping) else {name: getattr(source, name) for name in dir(source)}
    if namespace:
        start = f"{namespace}_" if not namespace.endswith("_") else namespace
        given = {key[len(start) :]: value for key, value in given.items() if key.startswith(start)}
        return _checked(given, start)
    known = {key: value for key, value in given.items() if _is_setting(key)}
    return _checked(given if isinstance(source, Mapping) else known, "")


def _is_setting(name: str) -> bool:
    key = _key(name)
    return not name.startswith("_") and (key in DEFAULTS or key in REPLACED)


def _imported(name: str) -> Any:
    """``package.module``, ``package.module:attribute`` or ``package.module.attribute``."""
    module, colon, attribute = name.partition(":")
    if not colon:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            module, _, attribute = name.rpartition(".")
            if not module or error.name not in (name, name.partition(".")[0]) or error.name == module:
                raise
    try:
        return getattr(import_module(module), attribute)
    except AttributeError as error:
        raise ImportError(f"{module} has no {attribute}") from error
