"""What the recorder notes down beside the data: losses, refusals, repairs, and agents that come and go."""

from typing import Literal, NamedTuple

__all__ = ["Kind", "Note"]

Kind = Literal["lost", "refused", "repaired", "on", "off"]


class Note(NamedTuple):
    """One thing that whoever reads the archive has to know."""

    kind: Kind
    subject: str
    """Address of a feed or of an agent, or a file's path."""
    since: float | None
    """When it began (unix, s); None if nobody knows."""
    until: float | None
    """When it ended (unix, s)."""
    samples: int
    """How many samples it has cost; 0 if none, or if nobody knows."""
    detail: str
    """One line: why, or, for `on` and `off`, the session id."""
