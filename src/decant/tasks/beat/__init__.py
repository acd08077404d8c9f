"""Periodic tasks: Celery's ``schedule`` and ``crontab``, whose ticks each run once however many workers there are."""

from __future__ import annotations

from .crontab import crontab
from .entries import ScheduleEntry
from .schedules import BaseSchedule, schedule

__all__ = ["BaseSchedule", "ScheduleEntry", "crontab", "schedule"]
