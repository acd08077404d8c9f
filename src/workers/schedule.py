"""What runs by itself, and when; imported with it are all jobs, so that whoever has the schedule knows them.

Times are in UTC. However many workers there are, each tick runs once.
"""

from __future__ import annotations

from typing import Any, Final

from decant.tasks import crontab

from .jobs import drain, imports, mail, previews, sums

__all__ = ["SCHEDULE"]

SCHEDULE: Final[dict[str, dict[str, Any]]] = {
    "count clicks": {"task": drain.drain_clicks.name, "schedule": 2.0},
    "forget counted batches": {"task": drain.forget_batches.name, "schedule": crontab(hour=3, minute=17)},
    "forget imports": {"task": imports.forget_imports.name, "schedule": crontab(hour=3, minute=27)},
    "forget summaries": {"task": mail.forget_digests.name, "schedule": crontab(hour=3, minute=37)},
    # A worker that was not there at the time catches up: the summary of yesterday is wanted at noon too.
    "summaries of the day": {
        "task": mail.plan_digests.name,
        "schedule": crontab(hour=5, minute=30),
        "args": ("daily",),
        "catch_up": "one",
    },
    "summaries of the week": {
        "task": mail.plan_digests.name,
        "schedule": crontab(day_of_week="mon", hour=5, minute=45),
        "args": ("weekly",),
        "catch_up": "one",
    },
}
_ON_DEMAND: Final = (previews.fetch_preview, sums.add)
