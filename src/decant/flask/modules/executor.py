"""``flask_executor``: Flask-Executor's names over :mod:`decant.executor`, which serves Flask as it is."""

from __future__ import annotations

from typing import Final

from ... import executor
from .table import Module, names

__all__ = ["MODULES"]

_HELPERS: Final = {"InstanceProxy": "a future is a FutureProxy", "str2bool": "settings are checked at the start"}

MODULES: Final = {
    "flask_executor": Module({"Executor": executor.Executor, "__version__": "1.0.0"}),
    "flask_executor.executor": Module(
        names(
            executor,
            *("Executor", "ExecutorJob", "FutureCollection", "FutureProxy"),
            *("propagate_exceptions_callback", "push_app_context"),
        ),
        {**_HELPERS, "get_current_app_context": "use push_app_context"},
    ),
    "flask_executor.futures": Module(names(executor, "FutureCollection", "FutureProxy"), _HELPERS),
    "flask_executor.helpers": Module({}, {**_HELPERS, "PROXIED_OBJECT": _HELPERS["InstanceProxy"]}),
}
