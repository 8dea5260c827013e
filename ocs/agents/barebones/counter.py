"""The instrument of the barebones agent: it counts.

In a real agent this is the driver of a device: it knows the protocol, and nothing of agents, so that it can be used in
a notebook and tested without a router.
"""

__all__ = ["Counter"]


class Counter:
    """Counts up from 0."""

    def __init__(self) -> None:
        self.value = 0

    def read(self) -> int:
        """Return the next number."""
        self.value += 1
        return self.value
