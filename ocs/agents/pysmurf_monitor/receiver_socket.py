"""The socket that datagrams come to: opened with as large a buffer as the system gives."""

import errno
import socket
import struct

from ocs.errors import ReceiverError

__all__ = ["buffer_bytes", "buffer_warning", "kernel_drops", "open_socket"]

ENOUGH_BYTES = 16 << 20
"""A buffer below which a burst may be lost while the disk or the machine is busy: 20,000 datagrams/s for half a
second, each of which takes the kernel up to 1.5 KB."""

_HIGHEST_PORT = 65535
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_DROPS = 8  # the kernel's SK_MEMINFO_DROPS

_REMEDIES = {
    errno.EADDRINUSE: "another program has it; end that one, or choose another port",
    errno.EACCES: "ports below 1024 need a privilege; choose a higher one",
    errno.EADDRNOTAVAIL: "this machine does not have the address; --bind takes one of its own, or 0.0.0.0 for all",
}


def open_socket(bind: str, port: int, socket_bytes: int) -> socket.socket:
    """Return a bound UDP socket that does not block.

    Args:
        bind: the address to listen at, IPv4 or IPv6, `localhost`, or empty for all of IPv4; `::` is all of both.
        port: the port; 0: any that is free.
        socket_bytes: the buffer that is asked for; the system gives what it allows.

    Raises:
        ReceiverError: it cannot be bound.
    """
    family, address = _resolve(bind, port)
    try:
        opened = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise _refused(bind, port, error) from error
    try:
        opened.setblocking(False)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        _ask_for_buffer(opened, socket_bytes)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise _refused(bind, port, error) from error
    return opened


def _resolve(bind: str, port: int) -> tuple[int, tuple[object, ...]]:
    if not 0 <= port <= _HIGHEST_PORT:
        raise ReceiverError(
            f"there is no UDP port {port}: give one from 1 to {_HIGHEST_PORT}, or 0 for any that is free"
        )
    host = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(bind, bind)  # noqa: S104  the documented default
    try:
        # Never asks a name server, which could take long.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError) as error:
        raise ReceiverError(f"--bind {bind!r} is not an address: give an IPv4 or IPv6 one of this machine") from error
    family, _, _, _, address = found[0]
    return family, address


def _ask_for_buffer(opened: socket.socket, socket_bytes: int) -> None:
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):  # the first needs a privilege and minds no limit
        try:
            opened.setsockopt(socket.SOL_SOCKET, option, socket_bytes)
        except OSError:
            continue
        return


def _refused(bind: str, port: int, error: OSError) -> ReceiverError:
    remedy = _REMEDIES.get(error.errno or 0, "")
    where = f"UDP port {port} of {bind or 'all interfaces'}"
    return ReceiverError(f"{where} cannot be used: {error.strerror or error}{remedy and f': {remedy}'}")


def buffer_bytes(opened: socket.socket) -> int:
    """Return the socket's buffer, bytes, as the kernel counts: with what it needs around each datagram."""
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def buffer_warning(given: int, wanted: int) -> str:
    """Return a line for the operator if the buffer may be too small for a burst, or "".

    Args:
        given: what the kernel has given, bytes as `buffer_bytes` returns them.
        wanted: what was asked for, bytes.
    """
    if given >= min(ENOUGH_BYTES, 2 * wanted):  # the kernel doubles what it is asked for, for its own needs
        return ""
    return (
        f"the socket's buffer has only {given >> 10} KiB: bursts may be lost while the machine is busy; "
        f"as root: sysctl -w net.core.rmem_max={wanted}"
    )


def kernel_drops(opened: socket.socket) -> int:
    """Return how many datagrams the kernel had no room for since the socket was opened; 0 where it does not tell."""
    try:
        found = opened.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return 0
    return int(_MEMINFO.unpack(found)[_DROPS]) if len(found) == _MEMINFO.size else 0
