"""What ``init_app`` registers on an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..bridge import wait
from ..context import current_app, on_quart
from ..errors import ConfigError, Overloaded, Unavailable
from . import lazy, track_modifications
from .migrate.commands import group

if TYPE_CHECKING:
    from .extension import SQLAlchemy

__all__ = ["models_by_name", "set_up"]

_LAZY_LOADS: Final = ("allow", "warn", "raise")


def set_up(db: SQLAlchemy, app: Any) -> None:
    """Register teardown, error handlers, shell context and what the configuration asks for."""
    lazy_loads = app.config.setdefault("SQLALCHEMY_LAZY_LOADS", "allow")
    if lazy_loads not in _LAZY_LOADS:
        raise ConfigError("SQLALCHEMY_LAZY_LOADS", lazy_loads, f"one of {', '.join(map(repr, _LAZY_LOADS))} is allowed")
    if on_quart(app):
        _set_up_quart(db, app)
    else:
        _set_up_flask(db, app)
    _answer_503(app)
    if "db" not in app.cli.commands:  # Flask-Migrate's, perhaps
        app.cli.add_command(group)
    if db.add_models_to_shell:
        app.shell_context_processor(models_by_name)
    if lazy_loads != "allow":
        lazy.listen(db.session_class)
    if app.config.setdefault("SQLALCHEMY_TRACK_MODIFICATIONS", False):
        track_modifications.listen(db.session_class)
    app.config.setdefault("SQLALCHEMY_RECORD_QUERIES", False)


def _set_up_quart(db: SQLAlchemy, app: Any) -> None:
    @app.teardown_appcontext  # type: ignore[untyped-decorator]
    async def remove_session(error: BaseException | None) -> None:
        await db.session.close_taken(db.session.taken())


def _set_up_flask(db: SQLAlchemy, app: Any) -> None:
    @app.teardown_appcontext  # type: ignore[untyped-decorator]
    def remove_session(error: BaseException | None) -> None:
        taken = db.session.taken()
        if taken:
            wait(db.session.close_taken(taken))


def _answer(error: Any) -> tuple[str, int, dict[str, str]]:
    text = "The service is not available at the moment. Please try again in a few seconds.\n"
    return text, 503, {"Retry-After": str(error.retry_after_s), "Content-Type": "text/plain; charset=utf-8"}


def _answer_503(app: Any) -> None:
    """Answer 503 where the database is away, unless the application says otherwise, before this or after."""

    async def answer(error: Any) -> Any:
        return _answer(error)

    handlers = app.error_handler_spec[None][None]
    for kind in (Unavailable, Overloaded):
        handlers.setdefault(kind, answer if on_quart(app) else _answer)


def models_by_name() -> dict[str, Any]:
    """``db`` and every model, by name: what a shell has."""
    db = current_app().extensions["sqlalchemy"]
    return {mapper.class_.__name__: mapper.class_ for mapper in db.Model.registry.mappers} | {"db": db}
