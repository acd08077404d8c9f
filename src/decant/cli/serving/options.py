"""What a serving process is told by its parent, as one argument of its command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

__all__ = ["LEAST_ENDING_S", "SERVERS", "Options", "Server", "Views"]

Views = Literal["threads", "loop"]
Server = Literal["hypercorn", "uvicorn", "granian"]
SERVERS: tuple[Server, ...] = ("hypercorn", "uvicorn", "granian")
LEAST_ENDING_S = 2.0


@dataclass(frozen=True)
class Options:
    """One serving process.

    :ivar target: what to serve, and ``source`` what errors call it: ``TARGET``, ``FLASK_APP``, ``tool.decant.app``.
    :ivar import_path: folders that its modules are looked for in, before the environment's.
    :ivar views: where a Flask application's views run; ``None``: not said.
    :ivar threads: the size of its pool of threads; ``None``: the default.
    :ivar workers: how many processes there are.
    :ivar descriptors: the sockets to listen on, inherited.
    :ivar drain_s: seconds from SIGTERM to the end, whatever is still open.
    :ivar proxy_hops: how many proxies in front set ``X-Forwarded-…``.
    """

    target: str
    source: str
    import_path: list[str] = field(default_factory=list)
    views: Views | None = None
    faces: bool = False
    async_db: bool = False
    threads: int | None = None
    workers: int = 1
    server: Server = "hypercorn"
    config: str | None = None
    descriptors: list[int] = field(default_factory=list)
    drain_s: float = 10.0
    proxy_hops: int = 0
    health: bool = False
    access_log: bool = False
    loglevel: str = "INFO"

    @property
    def open_s(self) -> float:
        """Seconds from SIGTERM until what is still open is ended; the rest of ``drain_s`` is for the end itself."""
        return max(self.drain_s - LEAST_ENDING_S, self.drain_s * 0.75)

    @property
    def own_s(self) -> float:
        """Seconds from SIGTERM until applications that end what is open by themselves do so, before we do."""
        return max(self.open_s - 1.0, self.open_s * 0.5)

    def as_argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_argument(cls, text: str) -> Options:
        """What :meth:`as_argument` made."""
        return cls(**json.loads(text))
