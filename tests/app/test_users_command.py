"""``quart --app app.asgi:app users``: run as a person does, in a process of its own, and by Click's runner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from app import create_app


@pytest.fixture
def run(settings: dict[str, Any]) -> Any:
    """In a process of its own."""

    def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        given = {key: str(value) for key, value in settings.items() if key.isupper() and key not in ("TESTING",)}
        return subprocess.run(
            [sys.executable, "-m", "quart", "--app", "app.asgi:app", "users", *arguments],
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            timeout=100,
            **options,
        )

    return command


@pytest.fixture
def invoke(settings: dict[str, Any]) -> Iterator[Any]:
    """In this one, in a thread: where it ends, what the commands' event loop has open is closed."""
    runner = create_app(settings).test_cli_runner()
    with ThreadPoolExecutor(1) as thread:
        yield lambda *arguments: thread.submit(runner.invoke, args=["users", *arguments]).result(100)


@pytest.mark.timeout(300)
def test_an_administrator_makes_lists_and_promotes_accounts(run: Any, invoke: Any, app_database_url: str) -> None:
    """create asks for the password when none is given; promote and its --revoke; list shows them all."""
    asked = run("create", "Ada", input="correct horse battery\ncorrect horse battery\n")
    assert asked.returncode == 0, asked.stderr
    assert "created user ada" in asked.stdout
    assert invoke("create", "grace", "--admin", "--password", "correct horse battery").exit_code == 0
    assert "ada is now an administrator" in invoke("promote", "ADA").stdout
    assert "grace is no longer an administrator" in invoke("promote", "grace", "--revoke").stdout
    lines = [line.split("\t")[:2] for line in run("list").stdout.splitlines()]
    assert lines == [["ada", "admin"], ["grace", "user"]]
    with psycopg.connect(app_database_url) as connection:
        (hashed,) = connection.execute("SELECT password_hash FROM users WHERE username = 'ada'").fetchone() or ()
    assert hashed.startswith("$argon2id$")


def test_a_refusal_is_one_line_and_a_status(run: Any, invoke: Any) -> None:
    """No traceback, and not status 0."""
    result = run("promote", "nobody")
    assert result.returncode == 1
    assert "there is no user 'nobody'" in result.stderr
    assert "Traceback" not in result.stderr
    for arguments, sentence in (
        (("create", "a", "--password", "correct horse battery"), "3 to 32 characters"),
        (("create", "ada", "--password", "short"), "at least 10 characters"),
    ):
        refused = invoke(*arguments)
        assert refused.exit_code == 1
        assert sentence in refused.stderr
        assert isinstance(refused.exception, SystemExit)
