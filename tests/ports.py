"""Ports of the loopback interface that nobody else is given."""

from __future__ import annotations

import socket

__all__ = ["kept_port"]


def kept_port() -> socket.socket:
    """Keeps a port until it is closed: for a server that is started later, and again, or for none at all.

    It is bound, but does not listen, so whoever asks for that port by its number may have it as well.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return kept
