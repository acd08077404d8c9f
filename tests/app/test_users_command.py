"""``quart --app app.asgi:app users``: run as a person does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import psycopg
import pytest


@pytest.fixture
def run(settings: dict[str, Any]) -> Any:
    def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        given = {key: str(value) for key, value in settings.items() if key.isupper() and key not in ("TESTING",)}
        return subprocess.run(
            [sys.executable, "-m", "quart", "--app", "app.asgi:app", "users", *arguments],
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    return command


def test_an_administrator_makes_lists_and_promotes_accounts(run: Any, app_database_url: str) -> None:
    """create asks for the password when none is given; promote and its --revoke; list shows them all."""
    asked = run("create", "Ada", input="correct horse battery\ncorrect horse battery\n")
    assert asked.returncode == 0, asked.stderr
    assert "created user ada" in asked.stdout
    assert run("create", "grace", "--admin", "--password", "correct horse battery").returncode == 0
    assert "ada is now an administrator" in run("promote", "ADA").stdout
    assert "grace is no longer an administrator" in run("promote", "grace", "--revoke").stdout
    lines = [line.split("\t")[:2] for line in run("list").stdout.splitlines()]
    assert lines == [["ada", "admin"], ["grace", "user"]]
    with psycopg.connect(app_database_url) as connection:
        (hashed,) = connection.execute("SELECT password_hash FROM users WHERE username = 'ada'").fetchone() or ()
    assert hashed.startswith("$argon2id$")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "a", "--password", "correct horse battery"), "3 to 32 characters"),
        (("create", "ada", "--password", "short"), "at least 10 characters"),
        (("promote", "nobody"), "there is no user 'nobody'"),
    ],
)
def test_a_refusal_is_one_line_and_a_status(run: Any, arguments: tuple[str, ...], sentence: str) -> None:
    """No traceback, and not status 0."""
    result = run(*arguments)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
