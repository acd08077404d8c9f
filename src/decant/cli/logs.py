"""Where a process of ours logs: to stderr, each line once, unless the application has said how it logs."""

from __future__ import annotations

import logging
import sys

__all__ = ["log_to_stderr"]


def log_to_stderr(level: str, form: str) -> None:
    """Give the root logger a handler if it has none. Call it when the application has been imported.

    Flask and Quart give an application's logger a handler of their own when it is used first and nobody else has one:
    if that was during the import, it goes, or each line would be there twice.
    """
    if logging.getLogger().handlers:
        return
    logging.basicConfig(level=level, format=form)
    own = [getattr(sys.modules.get(name), "default_handler", None) for name in ("flask.logging", "quart.logging")]
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.propagate:
            for handler in {*own} & {*logger.handlers}:
                logger.removeHandler(handler)  # type: ignore[arg-type]
