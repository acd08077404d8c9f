"""Imports of links: the job that makes them, and the one that forgets old imports.

What they do is in ``app.imports``, which knows the rules of links; it is found through the application.
"""

from __future__ import annotations

from typing import Any

from app.extensions import tasks
from decant.context import current_app
from decant.errors import Unavailable
from decant.tasks import Task

__all__ = ["forget_imports", "run_import"]


def _imports() -> Any:
    return current_app().extensions["imports"]


class _Importing(Task):
    """Its owner is told, and may import again, where the job fails for good."""

    async def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        await _imports().fail(args[0])


@tasks.task(
    name="imports.run",
    base=_Importing,
    autoretry_for=(Unavailable,),
    retry_backoff=True,
    retry_backoff_max=60,
    max_retries=None,
    max_attempts=100,
)
async def run_import(import_id: int) -> str:
    """Make the links of an import, or those that are left of it; the state in which it is afterwards.

    It may be begun as often as workers die: it goes on where its last batch was committed.
    """
    state: str = await _imports().run(import_id)
    return state


@tasks.task(name="imports.forget", ignore_result=True)
async def forget_imports() -> None:
    """Delete imports that have ended ``IMPORT_KEEP_DAYS`` ago; end those whose job is gone."""
    await _imports().forget()
