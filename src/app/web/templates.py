"""What every template may use, and that templates are compiled before the first request."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup
from quart import Quart

__all__ = ["init_templates"]


def day(when: datetime) -> Markup:
    """``<time>`` with a date in UTC."""
    utc = when.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), f"{utc.day} {utc:%b %Y}")


def moment(when: datetime) -> Markup:
    """``<time>`` with a date and a time in UTC."""
    utc = when.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), f"{utc.day} {utc:%b %Y, %H:%M} UTC")


def init_templates(app: Quart) -> None:
    """Give templates ``day`` and ``moment``; read and compile all of them before serving."""
    app.jinja_env.globals.update(day=day, moment=moment)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    @app.before_serving
    def compile_all() -> None:  # in a thread: it reads files
        for name in app.jinja_env.list_templates():
            app.jinja_env.get_template(name)
