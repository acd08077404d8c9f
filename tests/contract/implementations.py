"""Who keeps the contract: how each is started. One more is one more entry of :data:`IMPLEMENTATIONS`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .running import Command, Implementation

__all__ = ["EXAMPLE", "IMPLEMENTATIONS", "QUICK", "ROOT", "Finished", "Flask"]

ROOT = Path(__file__).parents[2]
_HERE = Path(__file__).parent
EXAMPLE = ROOT / "examples" / "shortener"
_TEAMS = EXAMPLE / ".venv" / "bin"
"""The team's own environment: its requirements, and Decant's base install."""
_STEP1 = EXAMPLE / "step1" / ".venv" / "bin"
"""The same, with those of Decant's extras that the Quart half needs."""
_OURS = Path(sys.executable).parent


@dataclass(frozen=True)
class Finished:
    """``src/app``, as ``decant up`` runs it."""

    name: str = "app"
    about: str = "src/app: Quart under Hypercorn, with its arq worker"
    _cheap = {"ARGON2_TIME_COST": "1", "ARGON2_MEMORY_COST_KIB": "64", "PREVIEWS": "off", "LOG_LEVEL": "WARNING"}

    def missing(self) -> str | None:
        return None

    def prepare(self) -> Sequence[Command]:
        return ()

    def web(self, port: int) -> Command:
        args = (str(_OURS / "python"), "-m", "hypercorn", "-c", "hypercorn.toml", "-b", f"127.0.0.1:{port}")
        return Command((*args, "app.asgi:app"), ROOT, {**self._cheap, "MIGRATE_ON_START": "true"})

    def workers(self) -> Sequence[Command]:
        return (Command((str(_OURS / "python"), "-m", "decant.cli", "worker"), ROOT, self._cheap),)


@dataclass(frozen=True)
class Flask:
    """The Flask application of ``examples/shortener``: the same source, served in one way or another.

    ``serving`` and ``working`` are command lines; ``{bin}`` is the team's environment, ``{step1}`` that of step 1,
    ``{ours}`` the one that runs the suite, ``{port}`` the port. ``environments`` are those that it needs besides that.
    """

    name: str
    about: str
    serving: str
    working: str
    preparing: str = "{bin}/flask --app shortener.wsgi:app init-db"
    environments: Sequence[Path] = (_TEAMS,)

    def missing(self) -> str | None:
        for folder in self.environments:
            if not (folder.parent / ".made").is_file():
                return f"{folder.parent} is missing: make contract makes it"
        return None

    def prepare(self) -> Sequence[Command]:
        return (self._command(self.preparing),)

    def web(self, port: int) -> Command:
        return self._command(self.serving, port)

    def workers(self) -> Sequence[Command]:
        return (self._command(self.working),)

    def _command(self, line: str, port: int = 0) -> Command:
        args = [word.format(bin=_TEAMS, ours=_OURS, step1=_STEP1, here=_HERE, port=port) for word in line.split()]
        return Command(args, EXAMPLE, {"PASSWORD_METHOD": "pbkdf2:sha256:1000", "LOG_LEVEL": "WARNING"})


_CELERY = "{bin}/celery -A shortener.celery_app worker --concurrency 2 --loglevel WARNING"

IMPLEMENTATIONS: tuple[Implementation, ...] = (
    Flask(
        "flask",
        "examples/shortener, unmodified: Flask under Gunicorn (threads), with its Celery worker",
        "{bin}/gunicorn shortener.wsgi:app --bind 127.0.0.1:{port} --worker-class gthread --workers 1 --threads 100",
        _CELERY,
    ),
    Flask(
        "threads",
        "examples/shortener, unmodified: decant serve --views threads (Hypercorn), with its Celery worker",
        "{bin}/decant serve --views threads --threads 100 --bind 127.0.0.1:{port} shortener.wsgi:app",
        _CELERY,
    ),
    Flask(
        "loop",
        "examples/shortener, unmodified: decant serve --views loop --faces, decant worker --faces",
        "{ours}/decant serve --views loop --faces --bind 127.0.0.1:{port} shortener.wsgi:app",
        "{ours}/decant worker --faces shortener.celery_app:celery",
        "{ours}/python {here}/make_tables.py",
        (),
    ),
    Flask(
        "mounted",
        "examples/shortener/step1: 28 of 46 routes are Quart's, the busiest ones, all others Flask's; Celery worker",
        "{step1}/decant serve --bind 127.0.0.1:{port} step1.asgi:app",
        _CELERY,
        environments=(_TEAMS, _STEP1),
    ),
    Finished(),
)
"""In the order of the table's columns."""
QUICK = ("loop", "app")
"""Those whose quick cases are in ``make test``."""
