"""What clients saw of a server, and what it took the server's processes."""

from __future__ import annotations

from dataclasses import dataclass, field

import psutil

__all__ = ["Figures", "cpu_s", "server_on"]


@dataclass
class Figures:
    """What the clients saw within the measured seconds."""

    seconds: float
    took: list[float] = field(default_factory=list)
    errors: int = 0
    warm: int = 0
    cpu_s: float = 0.0

    def __str__(self) -> str:
        ms = sorted(self.took)
        p99 = ms[int(len(ms) * 0.99)] * 1000 if ms else float("nan")
        cpu_us = self.cpu_s / max(1, len(ms)) * 1e6
        errors = f"  {self.errors} errors" if self.errors else ""
        return f"{len(ms) / self.seconds:8.0f}/s  p99 {p99:7.0f} ms  CPU {cpu_us:6.0f} µs a request{errors}"


def cpu_s(process: psutil.Process) -> float:
    """The CPU time of a process and of its children, user and system."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def server_on(port: int) -> psutil.Process:
    """The child of this process that listens on a port, itself or by its own children.

    :raises ProcessLookupError: if there is none.
    """
    listening = {c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == "LISTEN"}
    for child in psutil.Process().children():
        if listening & {each.pid for each in (child, *child.children(recursive=True))}:
            return child
    raise ProcessLookupError(f"no child of this process listens on port {port}")
