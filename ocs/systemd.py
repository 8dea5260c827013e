"""Telling systemd how this program does: ready, its state in a line, still alive (sd_notify(3)); nothing elsewhere."""

import os
import socket
from collections.abc import Mapping
from typing import Final

__all__ = ["ENVIRONMENT", "notify", "watchdog_interval"]

ENVIRONMENT: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd tells this program, and is not meant for the programs that it starts."""

_PER_LIMIT: Final = 2
"""Signs of life in the time in which systemd wants one, so that one that comes late costs nothing."""


def notify(*lines: str, environ: Mapping[str, str] | None = None) -> bool:
    """Send assignments such as ``READY=1`` or ``STATUS=3 of 4 agents up`` in one message; it never waits.

    Args:
        lines: one assignment each; a line break within one becomes a space.
        environ: where the socket is named; None: this process's environment.

    Returns:
        Whether it was sent. False where no systemd listens, and where it does not take more at the moment.
    """
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not lines or not address.startswith(("/", "@")):
        return False
    message = "\n".join(" ".join(line.splitlines()) for line in lines).encode(errors="replace")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(message, _socket_address(address))
        except OSError:  # nobody there, or its queue is full: the program's own work goes on
            return False
    return True


def _socket_address(name: str) -> str | bytes:
    """Return the address for the system: an abstract one, written with ``@``, begins with a zero byte."""
    return b"\0" + os.fsencode(name[1:]) if name.startswith("@") else name


def watchdog_interval(environ: Mapping[str, str] | None = None) -> float | None:
    """Return how often (s) to send ``WATCHDOG=1``: twice in the time after which systemd takes us for hung.

    Args:
        environ: what systemd says; None: this process's environment.

    Returns:
        None where nobody watches this process.
    """
    said = os.environ if environ is None else environ
    if said.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    limit = said.get("WATCHDOG_USEC", "")
    if not (limit.isascii() and limit.isdigit()) or int(limit) == 0:
        return None
    return int(limit) / 1e6 / _PER_LIMIT
