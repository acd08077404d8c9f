"""Workers: arq's, woken by publish, that claim in batches, renew leases, sweep, and can be told what to do.

The ``ctx`` that a job's function gets has, besides arq's own keys (``redis job_id job_try enqueue_time score``):

=============  ================================================================================
``tasks app``  the :class:`~decant.tasks.Tasks` and the application
``worker``     this worker's id, a ``str``: the ledger's ``worker``
``lease_s``    for how long a claim is good (``TASKS_LEASE_S``), until it is renewed
``recorder``   :class:`~decant.tasks.events.Recorder`: the event stream, and the worker's statistics
``stopping``   ``asyncio.Event``: set once the worker was told to stop
=============  ================================================================================
"""

from __future__ import annotations

from .settings import worker_settings

__all__ = ["worker_settings"]
