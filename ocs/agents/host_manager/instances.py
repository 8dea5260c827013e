"""`ManagedInstance`: all that is known of one instance, and all that decides what is done about it."""

import time
from dataclasses import dataclass, field

from ocs.agents.host_manager.runner import Runner

__all__ = ["HOSTED", "TARGETS", "ManagedInstance", "steady_time"]

HOSTED = "__plugin__"
"""``agent_script`` of what the host runs."""

TARGETS = ("up", "down")
"""What can be asked for."""

_ZERO = time.time() - time.monotonic()


def steady_time() -> float:
    """Return unix time (s) by a clock that nobody sets: what it was when this program started, and what has passed."""
    return _ZERO + time.monotonic()


@dataclass
class ManagedInstance:
    """One agent instance or docker service. Belongs to the reactor's thread."""

    management: str
    """Who runs it: "host", "docker"; or "retired": it has gone from the site config file, and is to go."""
    agent_class: str
    """The class; with "[d]" where docker runs it, "[d?]" where no service is found for it; "[docker]" for a service
    that no instance claims."""
    instance_id: str
    """The instance-id; of a service that no instance claims, the service's name."""
    full_name: str
    """``{agent_class}:{instance_id}``, for messages."""
    operable: bool = False
    """Whether it can be started and stopped."""
    retired: bool = False
    """Whether it can be forgotten."""
    passive_tracking: bool = False
    """Whether it is only watched: a request is carried out once, and nothing enforced."""
    agent_script: str | None = None
    """The docker service's name; ``__plugin__`` where the host runs it."""
    prot: Runner | None = None
    """What starts and stops it."""
    restart_required: bool = False
    """Whether what runs is not what the files say now."""
    target_state: str = "down"
    """What it is to be: "up", "down"; or "passive": whatever it is."""
    next_action: str = "down"
    """Where it is: "up", "down"; on its way "start", "start_at", "wait_start", "wait_dead"; "?" where nobody knows."""
    at: float = 0
    """When the state it is in is to be left at the latest (unix s, by `steady_time`)."""
    fail_times: list[float] = field(default_factory=list)
    """When it ended though nobody asked (unix s, by `steady_time`)."""

    start_level: int = 0
    """It is started when what has a lower level is ready."""
    restart: str = "always"
    """After which ends it is started again: "always", "on-failure" (not after exit code 0), "manual" (after none)."""
    changed: bool = False
    """Whether the site config file has described it otherwise since it was started."""
    held: str = ""
    """Why it must not be launched yet; empty: it may."""
    bounce: bool = False
    """Whether it is to end and start again."""
    failures: int = 0
    """Ends that nobody asked for, in a row, without a stable run between them."""
    launched: float | None = None
    """When it was last launched or found running (unix s, by `steady_time`)."""
    up_since: float | None = None
    """Since when it has been seen running (unix s, by `steady_time`)."""
    ready: bool = False
    """Whether it has been heard since it was launched."""
    wished: bool = False
    """Whether the target is a person's, or follows from its end, rather than the site config file's."""
