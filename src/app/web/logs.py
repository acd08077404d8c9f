"""Logs: structlog, for the application's own events and for what libraries log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import structlog

from ..config import Settings

__all__ = ["configure_logs", "job_context"]

# Local variables stay out of the log: among them are passwords and tokens.
_tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
# What these say at INFO is of no use in operation.
_TALKATIVE = ("decant.database.pool", "alembic.runtime.plugins", "hypercorn.access")


def configure_logs(settings: Settings) -> None:
    """Send every log line to standard error, as ``LOG_FORMAT`` and ``LOG_LEVEL`` say, with the request's id.

    A process that has set up the root logger itself (pytest, a worker) keeps its set-up.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    if root.handlers:
        return
    last: list[structlog.typing.Processor]
    if settings.LOG_FORMAT == "json":
        last = [structlog.processors.ExceptionRenderer(_tracebacks), structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    if settings.LOG_FORMAT == "console":
        handler.addFilter(_is_not_written_yet)
    root.addHandler(handler)
    root.setLevel(settings.LOG_LEVEL)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_not_written_yet(record: logging.LogRecord) -> bool:
    """Hypercorn by itself has a console handler of its own; under ``decant serve`` it has none."""
    return record.name != "hypercorn.error" or not logging.getLogger(record.name).handlers


def job_context(fields: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Bind a job's id, task, attempt and the request that it is from to what is logged while it runs."""
    known = {name: value for name, value in fields.items() if value is not None}
    return structlog.contextvars.bound_contextvars(**known)
