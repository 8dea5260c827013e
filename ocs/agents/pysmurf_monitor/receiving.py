"""The agent's side of the receiver: starts it, hears how far it has come, and starts another if it ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed

from ocs.agents.pysmurf_monitor.receiver_status import ReceiverStatus
from ocs.errors import ReceiverError

__all__ = ["ReceiverError", "ReceiverStatus", "Receiving"]


class Receiving:
    """Keeps a receiver running. All of it is on the reactor's thread.

    Args:
        reactor: starts the process and keeps the time.
        directory: the journal's folder.
        bind: the address to listen at; empty: all of IPv4.
        port: the UDP port; 0: any that is free.
        journal_bytes: how large the journal may become, bytes.
        socket_bytes: the buffer that is asked of the kernel, bytes.
        on_news: called when more has been written.
        log: the agent's logger.

    Attributes:
        status: how it is going.
    """

    def __init__(
        self,
        reactor: Any,
        directory: Path,
        *,
        bind: str,
        port: int,
        journal_bytes: int,
        socket_bytes: int,
        on_news: Callable[[], None],
        log: Any,
    ) -> None:
        self.status = ReceiverStatus()

    def start(self) -> None:
        """Start receiving; returns at once."""

    def stop(self) -> Deferred[None]:
        """Have the receiver take what is there and end; fires when it has."""
        return succeed(None)

    def drop_before(self, index: int) -> None:
        """Let go of all entries below an index. No later datagram gets an index below it, whatever became of the disk.

        Call it before `start` with where the agent is going to read on.
        """

    async def ready(self) -> int:
        """Return the port, as soon as there is one.

        Raises:
            ReceiverError: there is none: it is taken, or not allowed. Attempts go on.
        """
        return self.status.port
