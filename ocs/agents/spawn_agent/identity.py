"""Which process a component is: by its id, and by when it began, since ids are given away again."""

import time

from ocs.agents.spawn_agent.family import Member
from ocs.components.description import Description
from ocs.errors import SpawnError
from ocs.supervisor.proc import age, stamp

__all__ = ["process_of"]

_TOLERANCE = 2.0
"""By how much a process may seem younger than what it says of itself, in seconds: ticks and clocks are coarse."""


def process_of(found: Description, pid: int) -> Member:
    """Return the process that a component says it is.

    Args:
        found: the component; of its metadata ``started`` counts, the time at which it described itself (unix s).
        pid: the process id that it gives.

    Raises:
        SpawnError: there is no such process, or it began later than the component.
    """
    created = stamp(pid)
    if created is None:
        raise SpawnError(f"{found.component} says that it is process {pid}, but there is none on this machine")
    started = found.metadata.get("started")
    if isinstance(started, int | float) and time.time() - age(pid) > started + _TOLERANCE:
        raise SpawnError(f"{found.component} says that it is process {pid}, which is another by now: it is younger")
    return Member(pid, created)
