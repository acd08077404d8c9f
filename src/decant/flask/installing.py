"""``install()``: imports of Flask's extensions, and of Celery, give the faces of the twins.

One finder in front of ``sys.meta_path`` answers for the targets and all that is below them. Nothing on disk is changed,
the originals need not be installed, and whatever imports them gets the faces: the application, and other extensions.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from .modules import TARGETS, Module, modules_of

__all__ = ["install", "uninstall"]

logger = logging.getLogger("decant.flask")


def _lacks(module: str, name: str, advice: str = "") -> str:
    target = module.partition(".")[0]
    text = f"{module} has no {name!r} while {TARGETS[target]} stands in for {target} (decant.flask.install())"
    return f"{text}: {advice}" if advice else text


class _Faces(MetaPathFinder, Loader):
    """Finds and makes the modules of the targets that are installed."""

    def __init__(self) -> None:
        self.targets: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of ours; ``None`` for all others.

        :raises ImportError: for a submodule that is not offered, which ``from module import name`` asks for too.
        """
        top = fullname.partition(".")[0]
        if top not in self.targets:
            return None
        self._module(fullname)
        return ModuleSpec(fullname, self, origin=TARGETS[top], is_package=True)

    @staticmethod
    def _module(fullname: str) -> Module:
        table = modules_of(fullname.partition(".")[0])
        if fullname in table:
            return table[fullname]
        parent, _, name = fullname.rpartition(".")
        advice = table[parent].absent.get(name, "") if parent in table else ""
        raise ImportError(_lacks(parent, name, advice), name=fullname)

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module."""
        row = self._module(module.__name__)
        module.__doc__ = row.doc or f"{TARGETS[module.__name__.partition('.')[0]]} for an application written for it."
        vars(module).update(row.names)
        vars(module)["__all__"] = [name for name in row.names if not name.startswith("_")]

        def absent(name: str) -> Any:
            raise AttributeError(_lacks(module.__name__, name, row.absent.get(name, "")))

        vars(module)["__getattr__"] = absent
        logger.debug(
            "%s was imported: it is the face of %s", module.__name__, module.__spec__ and module.__spec__.origin
        )


_finder: Final = _Faces()


def install(*names: str) -> list[str]:
    """Let imports of these modules, by default of all, give the faces of their twins. Call it before the application
    is imported, once per process.

    ::

        from decant.flask import install

        install()
        from legacy import app  # its `from flask_caching import Cache` gives decant.cache's face

    :param names: ``flask_caching``, ``flask_limiter``, ``flask_cors``, ``flask_socketio``, ``flask_sqlalchemy``,
        ``flask_executor``, ``flask_cdn``, ``flask_migrate``, ``celery``.
    :return: the names that are replaced from now on and were not before; the log has them too.
    :raises ValueError: for a name that has no twin.
    :raises RuntimeError: if one of them, or a submodule, is imported already: whoever did has the original's classes.
    """
    for name in names:
        if name not in TARGETS:
            raise ValueError(f"there is no twin of {name!r}: install() replaces {', '.join(TARGETS)}")
    wanted = [name for name in names or TARGETS if name not in _finder.targets]
    loaded = sorted(name for name in sys.modules if name.partition(".")[0] in wanted)
    if loaded:
        raise RuntimeError(
            f"install() comes too late for {', '.join(loaded[:8])}{' …' if len(loaded) > 8 else ''}: it is imported"
            " already, and whoever did so has the original's classes. Call install() before the application, and what"
            " it uses, is imported; or name what shall be replaced"
        )
    _finder.targets.update(wanted)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if wanted:
        logger.info("imports are replaced: %s", ", ".join(f"{name} by {TARGETS[name]}" for name in wanted))
    return wanted


def uninstall() -> None:
    """Undo :func:`install`: later imports give the originals. What was imported meanwhile keeps the faces it has."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    for name in [name for name in sys.modules if name.partition(".")[0] in _finder.targets]:
        if getattr(getattr(sys.modules[name], "__spec__", None), "loader", None) is _finder:
            del sys.modules[name]
    if _finder.targets:
        logger.info("imports are no longer replaced: %s", ", ".join(sorted(_finder.targets)))
    _finder.targets.clear()
