"""pytest fixtures: a real worker in the test's event loop.

::

    # conftest.py
    from decant.tasks.testing import tasks_worker

    @pytest.fixture
    def tasks_app(database_url, redis_url):
        return create_app(TASKS_DATABASE_URL=database_url, REDIS_URL=redis_url)

    # test_jobs.py
    async def test_add(tasks_worker):
        result = await add.delay(1, 2)
        assert await result.get(timeout=5) == 3

``celery_worker`` is the same under Celery's name, and ``start_worker`` an ``async with`` for a part of a test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from ..errors import missing_extra
from ..faces import twin_of

try:
    import pytest
    import pytest_asyncio
except ImportError as error:
    raise missing_extra("decant.tasks.testing", "dev", error) from error

from .worker.service import Service, working
from .worker.settings import worker_settings

__all__ = ["celery_worker", "start_worker", "tasks_worker", "tasks_worker_options"]

_GRACE_S: Final = 2.0


@asynccontextmanager
async def start_worker(
    app: Any, *, queues: Iterable[str] | str | None = None, **options: Any
) -> AsyncIterator[Service]:
    """Within it a worker of the application runs, in the running loop: ``async with start_worker(app): …``.

    Jobs that run when it ends have two seconds, then they are given back. As Celery's, but ``async``, and the
    application is not started by it.

    :param app: Quart or Flask, with a ``Tasks``; or the ``Tasks`` of one application.
    :param queues: by default those of the settings.
    :param options: of :class:`~decant.tasks.worker.service.Service`, as ``concurrency``.
    """
    tasks, site = _found(app)
    given: Any = queues if queues is None or isinstance(queues, str) else ",".join(queues)
    options = {"grace_s": _GRACE_S, "starts_app": False, **options}
    async with working(worker_settings(tasks, site), queues=given, **options) as service:
        yield service


def _found(app: Any) -> tuple[Any, Any]:
    given = twin_of(app)
    if hasattr(given, "extensions"):
        tasks = twin_of(given.extensions.get("tasks"))
        if tasks is None:
            raise RuntimeError("the application has no tasks: Tasks().init_app(app) first")
        return tasks, given
    return given, given.runtime().app


@pytest.fixture
def tasks_worker_options() -> dict[str, Any]:
    """Options of the worker; to be overridden, as with ``{"concurrency": 1, "queues": "slow"}``."""
    return {}


@pytest_asyncio.fixture
async def tasks_worker(tasks_app: Any, tasks_worker_options: dict[str, Any]) -> AsyncIterator[Service]:
    """A worker of the application that your fixture ``tasks_app`` returns, in the test's loop."""
    async with start_worker(tasks_app, **tasks_worker_options) as service:
        yield service


@pytest_asyncio.fixture
async def celery_worker(tasks_app: Any, tasks_worker_options: dict[str, Any]) -> AsyncIterator[Service]:
    """:func:`tasks_worker` under Celery's name."""
    async with start_worker(tasks_app, **tasks_worker_options) as service:
        yield service
