"""How the receiver is going, in figures."""

from dataclasses import dataclass

__all__ = ["ReceiverStatus"]


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """How the receiver is going. Counts are from the agent's start on, over all receivers it has had."""

    port: int = 0
    """The UDP port; 0 while there is none."""
    received: int = 0
    """Datagrams taken from the socket."""
    written: int = 0
    """The next index: all entries below it are in the journal's files."""
    dropped: int = 0
    """Datagrams for which there was no room, neither on the disk nor in memory."""
    kernel_drops: int = 0
    """Datagrams that the kernel had no room for in the socket's buffer."""
    buffer_bytes: int = 0
    """The socket's buffer, bytes, with what the kernel needs around each datagram."""
    journal_bytes: int = 0
    """The journal, bytes."""
    waiting_bytes: int = 0
    """What waits in memory to be written, bytes."""
    trouble: str = ""
    """What is wrong, one line, or empty."""
    running: bool = False
    """Whether there is a receiver."""
    restarts: int = 0
    """How often another one had to be started."""
