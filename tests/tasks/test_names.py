"""A name that PostgreSQL would refuse is refused where it is said: in the ledger's batch it would fail others' jobs."""

from __future__ import annotations

from typing import Any

import pytest

from decant.errors import ConfigError
from decant.tasks import Tasks
from decant.tasks.publishing import build, origin

WRONG: list[Any] = ["", "a\0b", "\ud800", "q" * 256, 5, None]


@pytest.mark.parametrize("name", WRONG)
def test_names_that_the_ledger_cannot_keep_are_refused(name: Any) -> None:
    tasks = Tasks(set_as_current=False)
    with pytest.raises(ConfigError, match=r"^task = "):
        build(tasks, name, (), {}, {}, origin())
    if name is not None:  # that is the default
        with pytest.raises(ConfigError, match=r"^queue = "):
            build(tasks, "app.add", (), {}, {"queue": name}, origin())


def test_names_of_any_language_are_taken() -> None:
    job = build(Tasks(set_as_current=False), "app.größe", (), {}, {"queue": "邮件 😀"}, origin())
    assert (job.task, job.queue) == ("app.größe", "邮件 😀")
