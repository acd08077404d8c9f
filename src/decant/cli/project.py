"""The project that the command is called in: ``[tool.decant]`` of its ``pyproject.toml``, and the objects named there.

::

    [tool.decant]
    app = "app.asgi:app"                # an ASGI application, or a factory: "app:create_app()"
    worker = "workers:WorkerSettings"   # arq's settings; optional
"""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CommandError, ConfigError

__all__ = ["Project", "check_target", "load_target"]

_EXAMPLE = "a string such as 'package.module:name'"
_KEYS = {"app", "worker"}


@dataclass(frozen=True)
class Project:
    """``root`` is the folder of ``pyproject.toml``; a key that is not there is ``None``."""

    root: Path
    app: str | None = None
    worker: str | None = None

    @classmethod
    def find(cls, start: Path) -> Project:
        """Read the first ``pyproject.toml`` with ``[tool.decant]``, in ``start`` or above it.

        :raises CommandError: if there is none or it is not TOML.
        :raises ConfigError: if a value in it is wrong.
        """
        start = start.resolve()
        for folder in (start, *start.parents):
            path = folder / "pyproject.toml"
            if path.is_file():
                settings = _read(path).get("tool", {}).get("decant")
                if settings is not None:
                    return cls(folder, **_checked(settings))
        raise CommandError(
            f"no pyproject.toml with [tool.decant] in {start} or above it: it names the application,"
            ' as in app = "app.asgi:app"'
        )

    @property
    def import_path(self) -> list[str]:
        """Where the project's modules are looked for, before the environment's."""
        source = self.root / "src"
        return [str(self.root), *([str(source)] if source.is_dir() else [])]

    def extend_import_path(self) -> None:
        """Make the project's modules importable in this process."""
        sys.path[:0] = [path for path in self.import_path if path not in sys.path]

    def environment(self) -> dict[str, str]:
        """The same for a subprocess, whose output is not held back."""
        inherited = os.environ.get("PYTHONPATH")
        paths = [*self.import_path, *([inherited] if inherited else [])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error


def _checked(settings: object) -> dict[str, str]:
    if not isinstance(settings, Mapping):
        raise ConfigError("tool.decant", settings, f"it is a table with {' and '.join(sorted(_KEYS))}")
    for key, value in settings.items():
        if key not in _KEYS:
            raise ConfigError(f"tool.decant.{key}", value, f"the keys are {', '.join(sorted(_KEYS))}")
        if not isinstance(value, str):
            raise ConfigError(f"tool.decant.{key}", value, _EXAMPLE)
        check_target(value, f"tool.decant.{key}")
    return dict(settings)


def check_target(target: str, key: str) -> tuple[str, str]:
    """Split ``"module:name"``; ``key`` is what an error calls it."""
    module, _, name = target.partition(":")
    plain = name.removesuffix("()")
    if not all(part.isidentifier() for dotted in (module, plain) for part in dotted.split(".")):
        raise ConfigError(key, target, _EXAMPLE)
    return module, name


def load_target(target: str, key: str) -> Any:
    """Import the object that ``"module:name"`` names; ``"module:name()"`` is what calling it returns.

    :raises CommandError: if there is no such module or no such name in it. What the module itself raises when it is
        imported is not ours to shorten.
    """
    module_name, name = check_target(target, key)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # something that the module imports
        raise CommandError(f"{key} {target!r}: there is no module {error.name!r}") from error
    for part in name.removesuffix("()").split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise CommandError(f"{key} {target!r}: {module_name} has no {part!r}") from error
    return found() if name.endswith("()") else found
