"""TCP ports: one that is free, and who holds one that is not."""

import contextlib
import errno
import random
import socket
from urllib.parse import urlsplit

import psutil

from ocs.errors import RouterError

__all__ = ["busy_url", "free_port", "require_port"]


_NOT_FOR_CLIENTS = range(20_000, 32_768)
"""Ports that systems do not give to outgoing connections, by default. A router that is restarted finds such a port as
it left it: no connection of anybody's has taken it meanwhile, not even an agent's that looks for the router, which may
otherwise come to be connected to itself."""


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nothing listens at now, and that no outgoing connection will take."""
    for port in random.sample(_NOT_FOR_CLIENTS, 100):
        if _is_free(host, port):
            return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def require_port(host: str, port: int) -> None:
    """Make sure that a port can be listened at.

    Raises:
        RouterError: it cannot; names who holds it where that can be told.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise RouterError(f"port {port} needs privileges that you do not have; choose one over 1023") from error
        except OSError as error:
            raise RouterError(_why_not(host, port, error)) from error


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return _busy(host, port)
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen at {host}:{port}: no interface of this machine has the address {host}"
    return f"cannot listen at {host}:{port}: {error.strerror or error}"


def busy_url(url: str) -> str:
    """Say that something listens already where ``url`` points to."""
    parts = urlsplit(url)
    return _busy(parts.hostname or "?", parts.port or 0)


def _busy(host: str, port: int) -> str:
    holder = _holder(port)
    who = f" by {holder}" if holder else ""
    return f"port {port} on {host} is in use{who}: stop that, or choose another port (--port, or hub in the site file)"


def _holder(port: int) -> str | None:
    """Name the process that listens at ``port``, where the system lets us see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            at_port = getattr(connection.laddr, "port", None) == port
            if at_port and connection.pid and connection.status == psutil.CONN_LISTEN:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None
