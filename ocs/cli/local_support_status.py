"""What ``ocs-local-support status`` says of each target."""

from dataclasses import dataclass
from typing import Final

__all__ = ["BAD", "TARGETS", "Status"]

TARGETS: Final = ("crossbar", "agent", "process")
"""In the order in which they are started."""

BAD: Final = frozenset({"open", "stopped", "unknown"})
"""States that are not as they should be."""


@dataclass(frozen=True)
class Status:
    """One line of ``status``.

    Attributes:
        target: ``crossbar``, ``agent`` or ``process``.
        state: ``running``, ``stopped``, ``open`` (it admits everybody, though the site has keys), ``elsewhere`` (one
            answers that was not started from here), ``none`` (the site file has none on this host) or ``unknown`` (it
            cannot be asked).
        detail: one line for a person.
    """

    target: str
    state: str
    detail: str
