"""A toy project in a temporary folder, and ``decant`` started in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cli.toys import Project, Running, Start


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``decant`` in the project; what is left of it at the end of the test is killed."""
    started: list[Running] = []

    def run(*arguments: str, cwd: Path = tmp_path, **environment: str) -> Running:
        started.append(Running(list(arguments), cwd, environment))
        return started[-1]

    yield run
    for running in started:
        left = running.children() if running.process.poll() is None else []
        running.process.kill()
        for child in left:
            with suppress(psutil.NoSuchProcess):  # it ends with its parent
                child.kill()
        running.process.wait()
        running.reader.join(10)
        if running.process.stdout is not None:
            running.process.stdout.close()
