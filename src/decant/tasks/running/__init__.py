"""Running jobs: what a worker does with one that it was given, from the claim to its end.

:func:`~decant.tasks.running.wrapper.run_job` is the function that arq calls, on the stock worker and on ours alike. To
the worker it says how the job stands in the index only; the ledger knows by then:

- it returns: the job has ended, or is somebody else's;
- it raises ``arq.Retry(defer=…)``: run it again after so long (a retry, a rate limit, a database that is away);
- it raises ``CancelledError`` after having been cancelled: the worker stops, and the attempt was given back.

What a worker shares between its jobs is :class:`~decant.tasks.running.state.Running`, one per worker, application and
event loop: ``running_of(tasks, app, ctx)``. Its ``stop(id, reason)`` stops a job with the reason ``"revoked"`` (it ends
as REVOKED) or ``"lost"`` (another worker has it: nothing is written); a mere ``cancel()`` of arq's task gives it back,
``cancel("revoked")`` and ``cancel("lost")`` do as ``stop``. Its ``rates.set(task, "10/m")``,
``limits.set(task, soft_s, hard_s)`` and ``active`` serve the control channel; ``close()`` ends its processes.
"""

from __future__ import annotations

__all__: list[str] = []
