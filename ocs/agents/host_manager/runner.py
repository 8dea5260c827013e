"""What a runner is: starts and stops one instance, and says whether it runs."""

from typing import Protocol, runtime_checkable

__all__ = ["NO_RUNNER", "Runner", "Status", "UnknownRunner"]

Status = tuple[bool | None, int | None]
"""Whether it runs (None: nobody knows), and the exit code of its last end (None: none, or not known)."""


@runtime_checkable
class Runner(Protocol):
    """Starts and stops one instance. Its stop signals and its patience are its own.

    A runner that takes its time may have ``busy``, True while it carries something out, and ``failed``, which says why
    the last start came to nothing.
    """

    def up(self) -> None:
        """Start it, unless it runs; returns at once."""

    def down(self) -> None:
        """End it, unless it has ended; returns at once."""

    @property
    def status(self) -> Status:
        """Whether it runs, and how it ended; of a process (False, None) until something has ended."""


class UnknownRunner:
    """Stands for what cannot be reached: a docker service that no compose file describes."""

    status: Status = (None, None)

    def up(self) -> None:
        """Do nothing."""

    def down(self) -> None:
        """Do nothing."""


NO_RUNNER = UnknownRunner()
