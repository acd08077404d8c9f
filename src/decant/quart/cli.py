"""``app.cli``: commands may be ``async``, have an application context, and may wait.

Follows ``flask.cli``: ``with_appcontext`` is the default of a command (``FLASK_COMPAT``), and the other names of
``quart.cli`` are here too. What differs: a synchronous command runs while an event loop runs around it, so that
its calls may wait; one that starts a loop of its own (``asyncio.run``) says ``with_appcontext=False``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import click
from quart.cli import AppGroup as QuartAppGroup
from quart.cli import NoAppException, QuartGroup, ScriptInfo, pass_script_info, routes_command, run_command

from ..bridge import current_threads, wait
from .handlers import iscoroutinefunction

if TYPE_CHECKING:
    from .app import Quart

__all__ = [
    "AppGroup",
    "NoAppException",
    "QuartGroup",
    "ScriptInfo",
    "pass_script_info",
    "routes_command",
    "run_command",
    "with_appcontext",
]

Function = Callable[..., Any]


def with_appcontext(function: Function | None = None) -> Function:
    """Run a command's function, which may be ``async``, in an application context and in the bridge."""
    return with_appcontext if function is None else _wrapped(function, always=True)


def _wrapped(function: Function, *, always: bool, home: AppGroup | None = None) -> Function:
    @click.pass_context
    def command(context: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        app = _app(context, home)
        if always or app.config.get("FLASK_COMPAT", True) or iscoroutinefunction(function):
            return wait(_in_context(app, context, function, args, kwargs))
        return context.invoke(function, *args, **kwargs)

    command.decant_wrapped = True  # type: ignore[attr-defined]
    return update_wrapper(command, function)


async def _in_context(app: Any, context: click.Context, function: Function, args: Any, kwargs: Any) -> Any:
    threads = getattr(app, "threads", None)
    token = current_threads.set(threads) if threads is not None else None
    try:
        async with app.app_context():
            result = context.invoke(function, *args, **kwargs)
            return await result if isawaitable(result) else result
    finally:
        if token is not None:
            current_threads.reset(token)


def _app(context: click.Context, home: AppGroup | None) -> Any:
    info = context.find_object(ScriptInfo)
    if info is None and home is not None and home.app is not None:
        return home.app
    return (info or context.ensure_object(ScriptInfo)).load_app()


class AppGroup(QuartAppGroup):
    """A group of commands of an application or a blueprint; ``command(with_appcontext=False)`` opts out.

    :param app: whose group it is: found without ``quart --app`` where the group is called by itself.
    """

    def __init__(self, *args: Any, app: Quart | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = app

    def command(self, *args: Any, **kwargs: Any) -> Any:
        """``click.Group.command``, whose function has an application context unless ``with_appcontext=False``."""
        wanted: bool | None = kwargs.pop("with_appcontext", None)

        def decorator(function: Function) -> click.Command:
            if wanted is not False:
                function = _wrapped(function, always=bool(wanted), home=self)
            made: click.Command = click.Group.command(self, *args, **kwargs)(function)
            return made

        return decorator

    def group(self, *args: Any, **kwargs: Any) -> Any:
        """``click.Group.group``, of this class."""
        kwargs.setdefault("cls", AppGroup)
        if issubclass(kwargs["cls"], AppGroup):
            kwargs.setdefault("app", self.app)
        return super().group(*args, **kwargs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name; one that another class added may be ``async`` as well."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.callback is not None and iscoroutinefunction(command.callback):
            command.callback = _wrapped(command.callback, always=True, home=self)
        return command
