"""What a rule, a target and a set of rules are, once they have been read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ocs.access.rules import pattern_match

__all__ = ["OPERATION_KINDS", "SEVERITIES", "Email", "Escalation", "Kind", "Rule", "Ruleset", "Target", "Webhook"]

SEVERITIES = ("info", "warning", "critical")
"""From the least to the worst."""


class Kind(StrEnum):
    """What a rule looks at."""

    EXPIRED = "expired"
    OPERATION_FAILED = "operation_failed"
    OPERATION_STOPPED = "operation_stopped"
    DEGRADED = "degraded_longer_than"
    NO_DATA = "no_data_for"
    VALUE = "value_outside"
    GAP = "gap"
    DISK = "disk"
    QUEUE = "queue"
    DATA = "data_outside"
    ROUTER = "router_away"


OPERATION_KINDS = (Kind.OPERATION_FAILED, Kind.OPERATION_STOPPED, Kind.DEGRADED)
"""Rules that look at op codes."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """Who else is told of an alarm that nobody has acknowledged."""

    after: float
    """Seconds since it was first told."""
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Patterns are comma-separated shell globs, where ``!`` excludes; limits of None do not count."""

    name: str
    kind: Kind
    severity: str = "warning"
    wait: float = 0.0
    """How long it has to hold before the alarm fires, in seconds."""
    latch: bool = False
    """Whether the alarm stays when its cause has gone, until somebody resets it."""
    agents: str = "*"
    classes: str = "*"
    operations: str = "*"
    feeds: str = "*"
    fields: str = "*"
    path: str = ""
    """Where in ``session.data`` the figure is; keys joined by dots."""
    paths: tuple[str, ...] = ()
    """Folders on the watcher's own machine, whose disks are looked at."""
    low: float | None = None
    high: float | None = None
    hysteresis: float = 0.0
    """How far inside the limits a value has to be again, in its own unit."""
    within: float = 600.0
    """How long a gap is told after it has come about, in seconds."""
    notify: tuple[str, ...] = ()
    """Names of targets."""
    escalate: tuple[Escalation, ...] = ()

    def fits(self, instance_id: str, agent_class: str | None) -> bool:
        """Tell whether it looks at an agent."""
        return pattern_match(instance_id, self.agents) and pattern_match(agent_class or "", self.classes)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a POST goes; the address and the token may be secrets, and stand in files then."""

    url: str = field(repr=False)
    token_file: str | None = None
    """Its text is sent as ``Authorization: Bearer``."""


@dataclass(frozen=True, slots=True)
class Email:
    """How mail is sent, and to whom."""

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 25
    tls: str = "none"
    """``none``, ``starttls`` or ``tls``."""
    username: str | None = None
    password_file: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody, or something, that is told."""

    name: str
    way: Webhook | Email
    interval: float = 60.0
    """Shortest time between two notifications, in seconds; what happens in between goes into the second."""
    gather: float = 3.0
    """How long the first one waits for others to travel with it, in seconds."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All that a rules file says."""

    rules: tuple[Rule, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
