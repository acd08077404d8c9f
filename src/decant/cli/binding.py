"""The web server's address, taken before anything is started."""

from __future__ import annotations

import errno
import socket

import click

from ..errors import CommandError

__all__ = ["Address", "bound_socket", "is_listening", "url_of"]


class Address(click.ParamType):  # type: ignore[type-arg]  # not generic in all versions
    """``HOST:PORT``, ``[IPV6]:PORT``; port 0 is any free one."""

    name = "HOST:PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Split it; :class:`click.BadParameter` if it is not one."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            self.fail(f"{value!r}: an IPv6 address is written in brackets, as in [::1]:8000", param, ctx)
        if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT, as in 127.0.0.1:8000", param, ctx)
        return host, int(port)


def bound_socket(host: str, port: int) -> socket.socket:
    """A TCP socket on the address that does not listen yet: nobody else can have it, nobody can connect to it.

    :raises CommandError: if the address is taken, not ours or not permitted.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise CommandError(f"--bind {host}:{port}: {error.strerror}") from error
    bound = socket.socket(family, kind, protocol)
    try:
        # For the bind only, so that connections which are still closing are no hindrance but listeners are.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by accepted connections
    except OSError as error:
        bound.close()
        raise CommandError(_why_not(host, port, error)) from error
    return bound


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken: stop the program that listens there, or choose another with --bind"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: choose another with --bind"
    if error.errno == errno.EACCES:
        return f"port {port} is for privileged programs: choose one above 1023 with --bind"
    return f"--bind {host}:{port}: {error.strerror}"


def _reachable(bound: socket.socket) -> tuple[str, int]:
    host, port = bound.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104


def url_of(bound: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = _reachable(bound)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_listening(bound: socket.socket) -> bool:
    """Whether whoever inherited the socket listens by now."""
    try:
        socket.create_connection(_reachable(bound), timeout=1.0).close()
    except OSError:
        return False
    return True
