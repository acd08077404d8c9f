"""Every exception that Decant raises of its own accord, in one tree.

::

    DecantError
    ├── ConfigError (ValueError)      a configuration value that stops the start
    │   └── LimiterConfigError        of decant.limiter, which limits' own exception is as well
    ├── MissingExtra (ImportError)    an optional dependency is not installed
    ├── Overloaded                    a bounded queue is full: answer 503
    │   └── PoolTimeout               of decant.database, and SQLAlchemy's TimeoutError
    ├── Unavailable                   a server that is needed does not answer: answer 503
    │   ├── RedisUnavailable
    │   │   └── RedisOutcomeUnknown   the command was sent and may have run
    │   └── DatabaseUnavailable
    │       └── ConnectionLost        of decant.database, and SQLAlchemy's OperationalError
    ├── SessionInUse (RuntimeError)   one database session used by two tasks at once
    ├── LazyLoadError                 of decant.database: a lazy load where SQLALCHEMY_LAZY_LOADS is "raise"
    ├── WorkerDied                    of decant.executor, and BrokenProcessPool: a process was killed
    ├── TasksError                    of decant.tasks, under Celery's names
    │   ├── TaskPredicate             what a task raises to say how it ends
    │   │   ├── Ignore
    │   │   │   └── Replaced          the job goes on as another one
    │   │   ├── Reject
    │   │   └── Retry
    │   ├── TaskError                 what is wrong with a task or a job
    │   │   ├── AlreadyRegistered
    │   │   ├── ChordError            a task of a chord's header failed
    │   │   ├── InvalidTaskError
    │   │   │   └── PayloadTooLarge (ValueError)  arguments are too large to be handed over
    │   │   ├── MaxRetriesExceededError
    │   │   ├── NotRegistered (KeyError)
    │   │   ├── QueueNotFound (KeyError)
    │   │   ├── RemoteError           a job raised what is not known here
    │   │   ├── SoftTimeLimitExceeded
    │   │   ├── TaskRevokedError
    │   │   ├── Terminated
    │   │   ├── TimeLimitExceeded
    │   │   ├── TimeoutError          a job has not ended in time
    │   │   └── WorkerLostError       a job's worker died with it
    │   │       ├── ProcessDied       the process of a process=True job did
    │   │       └── TooMuchMemory     its process was over the memory ceiling
    │   ├── BackendError              what is known of a job cannot be read or written
    │   │   ├── BackendGetMetaError
    │   │   └── BackendStoreError
    │   └── OperationalError          also Unavailable: a job was not accepted
    ├── EmbeddedError (RuntimeError)  an embedded server cannot be had or started
    └── CommandError                  a command line tool ends with this line, status 1
"""

from __future__ import annotations

__all__ = [
    "CommandError",
    "ConfigError",
    "DatabaseUnavailable",
    "DecantError",
    "EmbeddedError",
    "MissingExtra",
    "Overloaded",
    "RedisOutcomeUnknown",
    "RedisUnavailable",
    "SessionInUse",
    "Unavailable",
    "missing_extra",
]


class DecantError(Exception):
    """The root of what Decant raises."""


class ConfigError(DecantError, ValueError):
    """A configuration value is wrong: names the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = key
        self.value = value
        self.allowed = allowed
        super().__init__(f"{key} = {value!r} is not valid: {allowed}")


class MissingExtra(DecantError, ImportError):
    """An optional dependency is not installed; the message has the ``pip install`` for it."""


class Overloaded(DecantError):
    """A bounded queue is full. ``retry_after_s`` goes into the answer's ``Retry-After``."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Unavailable(DecantError):
    """A server that is needed does not answer. ``retry_after_s`` as in :exc:`Overloaded`."""

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class RedisUnavailable(Unavailable):
    """Redis did not answer within its deadline, or its circuit breaker is open."""


class RedisOutcomeUnknown(RedisUnavailable):
    """The command was sent, and no answer came: whether it was run is unknown, so it is never repeated silently."""


class DatabaseUnavailable(Unavailable):
    """The database refuses connections or dropped one."""


class SessionInUse(DecantError, RuntimeError):
    """A database session is already executing for another task."""


class EmbeddedError(DecantError, RuntimeError):
    """An embedded PostgreSQL or Valkey cannot be had on this platform, or did not start."""


class CommandError(DecantError):
    """What a command line tool prints, in one line, before it exits with a status of 1."""


def missing_extra(feature: str, extra: str, cause: ImportError) -> MissingExtra:
    """The error to raise where an import of an optional dependency failed.

    >>> str(missing_extra("decant.database", "database", ImportError("x", name="sqlalchemy")))
    "decant.database needs 'sqlalchemy': pip install 'quart-decant[database]'"
    """
    name = cause.name or str(cause)
    return MissingExtra(f"{feature} needs {name!r}: pip install 'quart-decant[{extra}]'", name=cause.name)
