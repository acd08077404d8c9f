"""The settings of tasks: their defaults, what values they take, and Celery's that have no meaning here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["DEFAULTS", "OLD_NAMES", "REPLACED", "Key"]


@dataclass(frozen=True, slots=True)
class Key:
    """``check`` returns the value to keep, or raises ``ValueError`` with what is allowed."""

    default: Any
    check: Callable[[Any], Any]


_WORDS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0", ""), False),
}


def _switch(value: Any) -> bool:
    known = _WORDS.get(value.strip().lower()) if isinstance(value, str) else bool(value)
    if known is None:
        raise ValueError("True or False is allowed, or a text as 'true' and 'no'")
    return known


def _number(least: float, most: float = float("inf"), whole: bool = True) -> Callable[[Any], Any]:
    kind = "an integer" if whole else "a number"
    bounds = f"at least {least:g}" + (f", at most {most:g}" if most < float("inf") else "")

    def check(value: Any) -> Any:
        try:
            number = None if isinstance(value, bool) else (int if whole else float)(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or not least <= number <= most or (whole and isinstance(value, float) and value != number):
            raise ValueError(f"{kind}, {bounds}, is allowed")
        return number

    return check


def _maybe(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        return None if value is None else check(value)

    return checked


def _duration(value: Any) -> timedelta:
    try:
        made = value if isinstance(value, timedelta) else timedelta(seconds=float(value))
    except (TypeError, ValueError, OverflowError):
        made = timedelta(-1)
    if made < timedelta(0) or isinstance(value, bool):
        raise ValueError("seconds or a timedelta, at least 0, are allowed")
    return made


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is allowed")
    return value


def _zone(value: Any) -> Any:
    if isinstance(value, tzinfo):
        return value
    try:
        return ZoneInfo(_text(value)) and value
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("the name of a time zone is allowed, as 'Europe/Berlin' or 'UTC', or a tzinfo") from None


def _names(value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    try:
        names = tuple(one.strip() for one in given or ())
    except (TypeError, AttributeError):
        raise ValueError("a list of names is allowed") from None
    return tuple(filter(None, names))


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a dictionary is allowed")
    return dict(value)


def _queues(value: Any) -> dict[str, int] | None:
    """Names to weights: from a dictionary, a list of names, or Celery's list of ``Queue`` objects."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        weighted = {str(name): one if isinstance(one, int) else 1 for name, one in value.items()}
    else:
        items = value.split(",") if isinstance(value, str) else value
        weighted = {str(getattr(one, "name", one)).strip(): 1 for one in items}
    if not weighted or any(not name or weight < 1 for name, weight in weighted.items()):
        raise ValueError("queues are names, or a dictionary of names with their weights, at least 1")
    return weighted


def _routes(value: Any) -> Any:
    if value is None or callable(value) or isinstance(value, Mapping | list | tuple):
        return value
    raise ValueError("a dictionary of tasks and their routes, a function, or a list of them, is allowed")


def _rate(value: Any) -> Any:
    if value not in (None, "") and (isinstance(value, bool) or _RATE.fullmatch(str(value)) is None):
        raise ValueError("a number a second, or one as '10/s', '100/m', '1000/h', is allowed")
    return value


_RATE: Final = re.compile(r"\s*\d+(\.\d+)?\s*(/\s*[smh]\s*)?")


def _anything(value: Any) -> Any:
    return value


def _choice(*allowed: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(map(repr, allowed))} is allowed")
        return value

    return check


_seconds: Final = _number(0, whole=False)
_limit: Final = _maybe(_number(0.001, whole=False))

DEFAULTS: Final[dict[str, Key]] = {
    # ours
    "database_url": Key(None, _maybe(_text)),
    "redis_url": Key(None, _maybe(_text)),
    "prefix": Key("decant", _text),
    "durable": Key(True, _switch),
    "lease_s": Key(10.0, _number(0.5, 3600, whole=False)),
    "max_attempts": Key(3, _number(1, 1000)),
    "pool_size": Key(4, _number(1, 1000)),
    "max_arguments_kb": Key(256, _number(1, 65536)),
    "joins": Key(True, _switch),
    "log_arguments": Key(False, _switch),
    "grace_s": Key(10.0, _seconds),
    "max_events": Key(100_000, _number(0)),
    # Celery's: tasks
    "timezone": Key("UTC", _zone),
    "enable_utc": Key(True, _switch),
    "imports": Key((), _names),
    "include": Key((), _names),
    "task_routes": Key(None, _routes),
    "task_queues": Key(None, _queues),
    "task_default_queue": Key("default", _text),
    "task_create_missing_queues": Key(True, _switch),
    "task_default_priority": Key(0, _number(0, 9)),
    "task_inherit_parent_priority": Key(False, _switch),
    "task_default_rate_limit": Key(None, _rate),
    "task_always_eager": Key(False, _switch),
    "task_eager_propagates": Key(False, _switch),
    "task_store_eager_result": Key(False, _switch),
    "task_ignore_result": Key(False, _switch),
    "task_store_errors_even_if_ignored": Key(False, _switch),
    "task_acks_late": Key(True, _switch),
    "task_reject_on_worker_lost": Key(True, _switch),
    "task_time_limit": Key(None, _limit),
    "task_soft_time_limit": Key(None, _limit),
    "task_track_started": Key(True, _switch),
    "task_annotations": Key(None, _anything),
    "task_publish_retry": Key(True, _switch),
    "task_publish_retry_policy": Key(
        {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2}, _mapping
    ),
    "task_send_sent_event": Key(False, _switch),
    # results
    "result_expires": Key(timedelta(days=1), _maybe(_duration)),
    "result_extended": Key(True, _switch),
    # workers
    "worker_concurrency": Key(None, _maybe(_number(1, 100_000))),
    "worker_max_tasks_per_child": Key(None, _maybe(_number(1))),
    "worker_max_memory_per_child": Key(None, _maybe(_number(1))),
    "worker_processes": Key(None, _maybe(_number(1, 1000))),
    "worker_threads": Key(None, _maybe(_number(1, 10_000))),
    "worker_send_task_events": Key(True, _switch),
    "worker_disable_rate_limits": Key(False, _switch),
    "worker_enable_remote_control": Key(True, _switch),
    "worker_hijack_root_logger": Key(False, _switch),
    "worker_log_format": Key(None, _maybe(_text)),
    "worker_task_log_format": Key(None, _maybe(_text)),
    "worker_soft_shutdown_timeout": Key(0.0, _seconds),
    # beat
    "beat_schedule": Key({}, _mapping),
    "beat_max_loop_interval": Key(5.0, _number(0.05, 3600, whole=False)),
    "beat_catch_up": Key("skip", _choice("skip", "one", "all")),
}

_LEDGER: Final = "results are in the ledger, at TASKS_DATABASE_URL"
_MSGPACK: Final = "arguments and results are msgpack, which runs no code"
_REDIS: Final = "the connection is REDIS_URL's, with its REDIS_… settings"
_WORKER: Final = "one event loop claims what it has room for; set worker_concurrency"
REPLACED: Final[dict[str, str]] = {
    **dict.fromkeys(("result_backend", "result_backend_transport_options", "result_persistent"), _LEDGER),
    **dict.fromkeys(("result_backend_always_retry", "result_backend_max_retries", "result_cache_max"), _LEDGER),
    **dict.fromkeys(("result_backend_base_sleep_between_retries_ms", "result_backend_thread_safe"), _LEDGER),
    **dict.fromkeys(("database_engine_options", "database_short_lived_sessions", "database_table_names"), _LEDGER),
    **dict.fromkeys(("result_chord_retry_interval", "result_chord_join_timeout", "result_chord_ordered"), _LEDGER),
    **dict.fromkeys(("task_serializer", "result_serializer", "accept_content", "result_accept_content"), _MSGPACK),
    **dict.fromkeys(("task_compression", "result_compression", "event_serializer"), _MSGPACK),
    **dict.fromkeys(
        ("broker_transport_options", "broker_transport", "broker_pool_limit", "broker_use_ssl", "broker_heartbeat"),
        _REDIS,
    ),
    **dict.fromkeys(("broker_read_url", "broker_write_url", "broker_failover_strategy", "broker_login_method"), _REDIS),
    **dict.fromkeys(("broker_connection_timeout", "broker_connection_retry", "broker_connection_max_retries"), _REDIS),
    **dict.fromkeys(("broker_connection_retry_on_startup", "broker_channel_error_retry"), "workers always reconnect"),
    **dict.fromkeys(("redis_max_connections", "redis_socket_timeout", "redis_socket_connect_timeout"), _REDIS),
    **dict.fromkeys(("redis_socket_keepalive", "redis_retry_on_timeout", "redis_backend_use_ssl"), _REDIS),
    **dict.fromkeys(("task_default_exchange", "task_default_exchange_type", "task_default_routing_key"), "set queues"),
    **dict.fromkeys(("task_default_delivery_mode", "task_queue_max_priority", "task_protocol"), "set queues"),
    **dict.fromkeys(("worker_prefetch_multiplier", "worker_pool", "worker_autoscaler", "worker_consumer"), _WORKER),
    **dict.fromkeys(
        ("worker_pool_restarts", "worker_deduplicate_successful_tasks", "worker_proc_alive_timeout"), _WORKER
    ),
    **dict.fromkeys(("worker_timer_precision", "worker_state_db", "worker_lost_wait", "worker_pool_putlocks"), _WORKER),
    **dict.fromkeys(("worker_cancel_long_running_tasks_on_connection_loss", "worker_direct"), _WORKER),
    **dict.fromkeys(("worker_log_color", "worker_redirect_stdouts", "worker_redirect_stdouts_level"), "set up logging"),
    **dict.fromkeys(("beat_scheduler", "beat_schedule_filename", "beat_sync_every"), "the schedule is in the ledger"),
    **dict.fromkeys(("beat_logfile", "beat_cron_starting_deadline"), "the schedule is in the ledger; see catch_up"),
    **dict.fromkeys(("task_acks_on_failure_or_timeout", "task_remote_tracebacks"), "failures are always recorded"),
    **dict.fromkeys(("security_key", "security_certificate", "security_cert_store", "security_digest"), _MSGPACK),
    **dict.fromkeys(
        ("event_queue_ttl", "event_queue_expires", "event_queue_prefix", "event_exchange"), "set max_events"
    ),
    **dict.fromkeys(("control_queue_ttl", "control_queue_expires", "control_exchange"), "control is a Redis channel"),
}
"""Celery's keys that are accepted, with a warning that says what stands in for them."""

OLD_NAMES: Final[dict[str, str]] = {
    "broker_url": "redis_url",
    "always_eager": "task_always_eager",
    "eager_propagates_exceptions": "task_eager_propagates",
    "ignore_result": "task_ignore_result",
    "task_result_expires": "result_expires",
    "routes": "task_routes",
    "queues": "task_queues",
    "default_queue": "task_default_queue",
    "default_rate_limit": "task_default_rate_limit",
    "acks_late": "task_acks_late",
    "track_started": "task_track_started",
    "annotations": "task_annotations",
    "send_task_sent_event": "task_send_sent_event",
    "send_events": "worker_send_task_events",
    "store_errors_even_if_ignored": "task_store_errors_even_if_ignored",
    "create_missing_queues": "task_create_missing_queues",
    "concurrency": "worker_concurrency",
    "max_tasks_per_child": "worker_max_tasks_per_child",
    "schedule": "beat_schedule",
    "beat_max_interval": "beat_max_loop_interval",
}
"""Other names for the same: of Celery 3, and ``broker_url``, which here is Redis's."""
