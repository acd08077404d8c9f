"""``decant tasks``: asking and telling workers, and seeing to jobs, from a shell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.cli.forking import Forking
from tests.cli.test_worker_tasks import TOYS, Producer
from tests.cli.toys import Project, Start, wait_until
from tests.ledgers import ledger_database, ledger_url

__all__ = ["ledger_database", "ledger_url"]  # fixtures

Decant = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def forking() -> Iterator[Forking]:
    made = Forking()
    yield made
    made.close()


@pytest.fixture
def decant(project: Project, forking: Forking, ledger_url: str, redis_url: str) -> Decant:
    """Run ``decant tasks -A toytasks:app …``; its exit status and output."""
    project.write("toytasks.py", TOYS)

    def run(*arguments: str, target: str = "toytasks:app") -> tuple[int, str]:
        options = ("tasks", "-A", target, *arguments)
        return forking(*options, cwd=project.root, DATABASE_URL=ledger_url, REDIS_URL=redis_url)

    return run


def test_a_job_from_the_shell_to_its_result(
    decant: Decant,
    start: Start,
    ledger_url: str,
    redis_url: str,
) -> None:
    assert decant("status", "-t", "0.2") == (1, "0 workers answer")
    worker = start("worker", "toytasks:app", "-n", "toy", DATABASE_URL=ledger_url, REDIS_URL=redis_url)
    worker.expect("is ready")
    # It is ready after a second if Redis has not told it by then that it hears.
    wait_until(lambda: decant("status", "-t", "20")[0] == 0)
    status, output = decant("status", "-t", "20")
    assert (status, output.splitlines()[-1]) == (0, "1 worker answers")
    status, id_ = decant("call", "quick", "-a", '["grüße"]')
    assert status == 0
    status, output = decant("result", id_, "--wait", "30")
    assert (status, json.loads(output)) == (0, {"state": "SUCCESS", "result": "grüße"})
    status, output = decant("inspect", "registered", "-d", "toy", "-t", "20")
    [names] = json.loads(output).values()
    assert {"quick", "slow", "thread"} <= set(names)
    status, output = decant("control", "pool_grow", "3", "-t", "20")
    assert "up to 43 jobs at once" in output
    assert decant("control", "shutdown", "-t", "20")[0] == 0
    assert worker.ends() == 0


def test_what_waits_is_revoked_or_purged(decant: Decant, ledger_url: str, redis_url: str) -> None:
    producer = Producer(ledger_url, redis_url)
    first, second = producer.send("quick", 1), producer.send("quick", 2)
    assert decant("revoke", str(first), str(uuid4()))[1].splitlines()[0] == f"{first}: REVOKED"
    assert decant("purge") == (130, "All jobs that wait will be revoked. Go on? [y/N]: decant: interrupted")
    assert decant("purge", "--force") == (0, "1 jobs were revoked"), "the revoked one is still in Redis"
    assert {producer.record(id_).state for id_ in (first, second)} == {"REVOKED"}
    producer.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["call", "quick", "-a", "{"], "--args '{' is not JSON"),
        (["call", "quick", "-a", "{}"], "--args '{}' is no JSON array"),
        (["revoke", "no-uuid"], "'no-uuid' is not a valid UUID"),
        (["inspect", "nonsense"], "'nonsense' is not one of"),
        (["control", "rate_limit"], "rate_limit: "),
    ],
)
def test_wrong_arguments_are_one_line(decant: Decant, arguments: list[str], message: str) -> None:
    status, output = decant(*arguments)
    assert status in (1, 2)
    assert message in output
    assert "Traceback" not in output


def test_an_application_without_tasks_is_named(decant: Decant) -> None:
    status, output = decant("status", target="toy:app")
    assert status == 1
    assert "has no tasks: Tasks().init_app(app) is missing" in output


SHOP = """
    import os
    from celery import Celery
    from flask import Flask

    app = Flask("shop")
    app.config["TASKS_DATABASE_URL"] = os.environ["DATABASE_URL"]
    celery = Celery("shop", broker=os.environ["REDIS_URL"])

    @celery.task(name="shop.add")
    def add(x, y):
        return x + y
"""


def test_the_jobs_of_a_celery_application(decant: Decant, project: Project) -> None:
    """It is settled where they are by the configuration of the Flask application beside it."""
    project.write("shop.py", SHOP)
    status, id_ = decant("--faces", "call", "shop.add", "-a", "[1, 2]", target="shop:celery")
    assert status == 0
    assert json.loads(decant("--faces", "result", id_, target="shop")[1]) == {"state": "PENDING", "result": None}
    assert decant("--faces", "purge", "--force", target="shop") == (0, "1 jobs were revoked")
    assert json.loads(decant("--faces", "result", id_, target="shop")[1])["state"] == "REVOKED"
    status, output = decant("--faces", "status", target="shop:app")
    assert status == 1
    assert output.endswith("is no Celery application, and no Flask application that has one")
