"""What ``decant serve`` is to serve: ``module:app``, ``module:create_app('x')``, ``module``, ``path/app.py``.

As ``flask --app`` has it, but that a factory may be ``async``. Nothing is guessed silently: where a module has several
applications, the error lists them.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import isawaitable, iscoroutinefunction, isfunction, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from ...bridge import wait
from ...errors import CommandError, ConfigError

__all__ = ["Target", "is_asgi"]

_EXAMPLE = (
    "'package.module', 'package.module:name' or 'package.module:factory(\"argument\", key=1)', with literals only"
)
_NAMES, _FACTORIES = ("app", "application"), ("create_app", "make_app")


@dataclass(frozen=True)
class Target:
    """The parts of a target.

    :ivar title: what errors call it, as ``TARGET 'legacy:app'``.
    :ivar module: a module's name, or the path of a Python file or of a package's folder.
    :ivar name: the object in it, dotted; ``""``: to be found.
    :ivar called: whether it was written with parentheses.
    """

    title: str
    module: str
    name: str = ""
    called: bool = False
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, source: str) -> Target:
        """Take it apart.

        :raises ConfigError: if it cannot be.
        """
        module, colon, expression = text.strip().partition(":")
        title = f"{source} {text!r}"
        if not _is_module(module) or (colon and not expression.strip()):
            raise ConfigError(source, text, f"it is {_EXAMPLE}")
        if not colon:
            return cls(title, module)
        try:
            node = ast.parse(expression.strip(), mode="eval").body
            call = node if isinstance(node, ast.Call) else None
            name = _dotted(call.func if call else node)
            arguments = tuple(map(ast.literal_eval, call.args)) if call else ()
            keywords = {str(given.arg): ast.literal_eval(given.value) for given in call.keywords} if call else {}
            if "None" in keywords:  # **mapping
                raise ValueError
        except (SyntaxError, ValueError, TypeError):
            raise ConfigError(source, text, f"it is {_EXAMPLE}") from None
        return cls(title, module, name, call is not None, arguments, keywords)

    def load(self) -> Any:
        """Import the module and find or make the application; a coroutine of a factory is waited for.

        :raises CommandError: if there is no such module or name, or no application. What the module or the factory
            itself raises passes through.
        """
        module = self._import()
        found = self._named(module) if self.name else self._in(module)
        if self.called or (isfunction(found) and not is_asgi(found)):
            found = self._made(found)
        return found

    def _import(self) -> ModuleType:
        name = _importable(Path(self.module), self.title) if _is_path(self.module) else self.module
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # something that the module imports
            raise CommandError(
                f"{self.title}: there is no module {error.name!r} in {Path.cwd()} or the environment"
            ) from error

    def _named(self, module: ModuleType) -> Any:
        found: Any = module
        for part in self.name.split("."):
            try:
                found = getattr(found, part)
            except AttributeError as error:
                there = "".join(f"; it has {name}" for name in _applications(module)[:3])
                raise CommandError(f"{self.title}: {module.__name__} has no {part!r}{there}") from error
        return found

    def _in(self, module: ModuleType) -> Any:
        for name in (*_NAMES, *_FACTORIES):
            if (found := getattr(module, name, None)) is not None and (callable(found)):
                return found
        names = _applications(module)
        if len(names) == 1:
            return getattr(module, names[0])
        if names:
            raise CommandError(
                f"{self.title}: {module.__name__} has several applications, {', '.join(names)}: name one"
            )
        wanted = ", ".join((*_NAMES, *_FACTORIES))
        raise CommandError(
            f"{self.title}: {module.__name__} has no application: none of {wanted}, and no other Flask or Quart"
        )

    def _made(self, factory: Callable[..., Any]) -> Any:
        if not callable(factory):
            raise CommandError(f"{self.title}: {self.name} cannot be called, it is {factory!r}")
        try:
            signature(factory).bind(*self.arguments, **self.keywords)
        except TypeError as error:
            raise CommandError(f"{self.title}: the factory's arguments do not fit, {error}") from error
        except ValueError:  # it has no signature
            pass
        made = factory(*self.arguments, **self.keywords)
        return wait(made) if isawaitable(made) else made


def is_asgi(found: Any) -> bool:
    """Whether it can be called with scope, receive and send, as an instance with ``__call__`` or a function."""
    if isinstance(found, type) or not callable(found):
        return False
    call = found if isfunction(found) else type(found).__call__
    try:
        signature(found).bind(None, None, None)
    except (TypeError, ValueError):
        return False
    return iscoroutinefunction(call) or list(signature(found).parameters)[:1] == ["scope"]


def _is_module(text: str) -> bool:
    return bool(text) and (_is_path(text) or all(part.isidentifier() for part in text.split(".")))


def _is_path(text: str) -> bool:
    return text.endswith(".py") or "/" in text


def _importable(path: Path, title: str) -> str:
    """The name of a file's module; the folder of its outermost package can be imported from, after this."""
    path = path.resolve()
    if not path.exists():
        raise CommandError(f"{title}: there is no file {path}")
    path = path.with_suffix("") if path.suffix == ".py" else path
    path = path.parent if path.name == "__init__" else path
    names = [path.name]
    while (path.parent / "__init__.py").exists():
        path = path.parent
        names.insert(0, path.name)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    return ".".join(names)


def _applications(module: ModuleType) -> list[str]:
    """The names of the Flask and Quart applications in it, those that are imported from elsewhere too."""
    kinds = [getattr(sys.modules.get(name), kind, None) for name, kind in (("flask", "Flask"), ("quart", "Quart"))]
    wanted = tuple(kind for kind in kinds if isinstance(kind, type))
    return [name for name, value in vars(module).items() if isinstance(value, wanted)] if wanted else []


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if not isinstance(node, ast.Name):
        raise ValueError("no name")
    return node.id
