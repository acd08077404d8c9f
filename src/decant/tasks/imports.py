"""Importing the modules that define tasks."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec

__all__ = ["import_all", "import_related"]


def import_all(modules: Iterable[str]) -> None:
    """Import each.

    :raises ImportError: if one cannot be.
    """
    for module in modules:
        import_module(module)


def import_related(packages: Iterable[str], related_name: str | None) -> None:
    """Import ``<package>.<related_name>`` of each package that has it; without a name the packages themselves."""
    for package in packages:
        if related_name is None:
            import_module(package)
            continue
        import_module(package)
        if find_spec(f"{package}.{related_name}") is not None:
            import_module(f"{package}.{related_name}")
