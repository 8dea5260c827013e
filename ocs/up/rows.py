"""How each part of a running site does: a record each, made of what is supervised, told by the manager, and heard."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ocs.base import OpCode
from ocs.monitor import AgentView
from ocs.supervisor import Child, Phase, Target
from ocs.up.managed import ManagedChild
from ocs.up.site_file import MANAGER_CLASS

__all__ = [
    "ROUTER",
    "Health",
    "Known",
    "Recording",
    "Role",
    "Row",
    "Summary",
    "op_name",
    "rows_of",
    "state_of",
    "summary_of",
    "without_time",
]

_TIME_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.+-]+Z?\s+")
"""What our agents' log lines begin with."""

ROUTER = "router"
"""The name of the router's row."""


class Health:
    """How good or bad a state is; the view's colours follow."""

    GOOD = "good"
    CHANGING = "changing"
    BAD = "bad"
    IDLE = "idle"


class Role:
    """What a row is about."""

    ROUTER = "router"
    MANAGER = "manager"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Row:
    """One agent, or the router, at one moment."""

    name: str
    agent_class: str
    state: str
    """In a word or two: queued, starting, up, silent, no router, waiting, stopping, down, unknown; of others' agents:
    elsewhere."""
    health: str
    """One of `Health`."""
    operations: tuple[tuple[str, int], ...] = ()
    """Those that have run, with their op codes."""
    samples_per_s: float = 0.0
    samples: int = 0
    last_age: float | None = None
    """Seconds since the last message besides heartbeats."""
    last_text: str = ""
    restarts: int = 0
    pid: int | None = None
    trouble: str = ""
    """What is wrong with it now, in a line."""
    due_in: float | None = None
    """Seconds until it is started again."""
    last_exit: str = ""
    """How its last process ended, if one has."""
    last_words: str = ""
    """The last line it printed; of an agent, before its last process ended."""
    role: str = "agent"
    """One of `Role`."""
    cpu_percent: float | None = None
    """Of one core, of late."""
    memory_bytes: int | None = None
    """Resident memory."""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "operations": {name: op_name(code) for name, code in self.operations}}


@dataclass(frozen=True, slots=True)
class Recording:
    """What the aggregator has on disk."""

    file: str = ""
    """The newest file."""
    size: int = 0
    """Its size, in bytes."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole site at one moment."""

    up: int
    agents: int
    samples_per_s: float
    samples: int
    recording: Recording = field(default_factory=Recording)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def op_name(code: int) -> str:
    """Return an op code's name in small letters, or the number if it is none."""
    try:
        return OpCode(code).name.lower()
    except ValueError:
        return str(code)


_NOT_UP = {
    "down": ("down", Health.IDLE),
    "start": ("queued", Health.CHANGING),
    "start_at": ("waiting", Health.BAD),
    "wait_start": ("starting", Health.CHANGING),
    "wait_dead": ("stopping", Health.CHANGING),
}
"""What is said of an instance that its manager has in such a state."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known at one moment."""

    own: Sequence[Child]
    """What `ocs up` itself keeps: the router, if it is ours, and the manager."""
    children: Sequence[ManagedChild]
    """What the manager keeps, as it said last."""
    told_at: float
    """When it said so, in seconds on the clock of ``now``."""
    heard: Sequence[AgentView]
    """Who is heard."""
    now: float
    linked: bool = True
    """Whether we are joined to the router; if not, silence is the router's."""
    trouble: str = ""
    """What the manager says is wrong."""
    over: bool = False
    """Whether the manager has ended, with all it kept, and is not to come back."""


def rows_of(known: Known) -> list[Row]:
    """Return a row for the router, the manager, each instance that counts, then one for each other living agent."""
    heard = {view.instance_id: view for view in known.heard}
    rows = [_own_row(child, heard.pop(child.name, None), known) for child in known.own]
    rows += [_managed_row(child, heard.pop(child.name, None), known) for child in known.children if child.counts]
    return rows + [_other_row(view, known.now) for view in heard.values() if not view.expired]


def _own_row(child: Child, view: AgentView | None, known: Known) -> Row:
    is_router = child.name == ROUTER
    state, health = _state_of_own(child, view, known)
    due = child.state.due
    return Row(
        name=child.name,
        agent_class="crossbar" if is_router else MANAGER_CLASS,
        state=state,
        health=health,
        restarts=child.restarts,
        pid=child.pid,
        trouble=_trouble_of_own(child) or _trouble_of_manager(child, state, known),
        due_in=max(0.0, due - known.now) if due is not None and child.state.phase is Phase.WAITING else None,
        last_words=without_time(child.output.tail.last_line()),
        last_exit=str(child.state.last_exit or ""),
        role=Role.ROUTER if is_router else Role.MANAGER,
        **(_heard(view, known.now) if view and child.state.alive else {}),
    )


def _state_of_own(child: Child, view: AgentView | None, known: Known) -> tuple[str, str]:
    match child.state.phase:
        case Phase.DOWN:
            return "down", Health.IDLE
        case Phase.WAITING:
            return "waiting", Health.BAD
        case Phase.STOPPING:
            return "stopping", Health.CHANGING
        case Phase.UP if child.name == ROUTER:
            return ("up", Health.GOOD) if child.ready else ("starting", Health.CHANGING)
        case Phase.UP:
            return _state_of_running(view, known, began=None if child.ready else child.state.since)


def _trouble_of_own(child: Child) -> str:
    if child.state.phase is not Phase.WAITING:
        return f"log not written: {child.output.trouble}" if child.output.trouble else ""
    return _why(str(child.state.last_exit), without_time(child.output.tail.last_line()))


def _trouble_of_manager(child: Child, state: str, known: Known) -> str:
    if child.name == ROUTER or child.state.target is not Target.UP:
        return ""
    if state == "starting" and child.restarts:
        return "starts again; its agents run on, and it takes them over"
    return known.trouble


def _managed_row(child: ManagedChild, view: AgentView | None, known: Known) -> Row:
    state, health = ("down", Health.IDLE) if known.over else state_of(child, view, known)
    waiting = state == "waiting"
    heard = _heard(view, known.now) if view else {}
    quiet = state in ("waiting", "queued", "down")
    due_in = None if child.due_in is None else max(0.0, child.due_in - (known.now - known.told_at))
    return Row(
        name=child.name,
        agent_class=child.agent_class,
        state=state,
        health=health,
        restarts=child.restarts,
        pid=None if known.over else child.pid,
        trouble=_why(child.last_exit, without_time(child.last_words)) if waiting else child.trouble,
        due_in=due_in if waiting else None,
        last_words=without_time(child.last_words),
        last_exit=child.last_exit,
        cpu_percent=None if known.over else child.cpu_percent,
        memory_bytes=None if known.over else child.memory_bytes,
        **({"samples": heard.get("samples", 0)} if quiet else heard),
    )


def _other_row(view: AgentView, now: float) -> Row:
    return Row(
        name=view.instance_id, agent_class=view.agent_class, state="elsewhere", health=Health.IDLE, **_heard(view, now)
    )


def _heard(view: AgentView, now: float) -> dict[str, Any]:
    last = view.last
    return {
        "operations": tuple((name, code) for name, code in view.op_codes.items() if code != OpCode.NONE),
        "samples_per_s": view.samples_per_s,
        "samples": view.samples,
        "last_age": max(0.0, now - last.time) if last else None,
        "last_text": f"{last.feed_name}: {last.text}" if last else "",
    }


def state_of(child: ManagedChild, view: AgentView | None, known: Known) -> tuple[str, str]:
    """Return an instance's state in a word and how good that is.

    An agent is up once a heartbeat of its present process has come.
    """
    if child.next_action != "up":
        return _NOT_UP.get(child.next_action, ("unknown", Health.BAD))
    # Of a container it is not told when it began: any heartbeat counts.
    age = math.inf if child.uptime is None else child.uptime
    return _state_of_running(view, known, began=None if child.ready else known.told_at - age)


def _state_of_running(view: AgentView | None, known: Known, *, began: float | None) -> tuple[str, str]:
    """Return how a process does that began then; None: it has been heard since, if perhaps not by us."""
    age = view.heartbeat_age if view else None
    if view is None or age is None:
        return ("starting", Health.CHANGING) if began is not None else ("up", Health.GOOD)
    if began is not None and known.now - age < began:
        return "starting", Health.CHANGING
    if view.expired:
        return ("silent", Health.BAD) if known.linked else ("no router", Health.CHANGING)
    return "up", Health.BAD if OpCode.DEGRADED in view.op_codes.values() else Health.GOOD


def _why(end: str, words: str) -> str:
    return ": ".join(part for part in (end, words) if part)


def without_time(line: str) -> str:
    """Return a line of an agent's log without the time that it begins with."""
    return _TIME_STAMP.sub("", line)


def summary_of(rows: Iterable[Row], recording: Recording) -> Summary:
    """Return the sums over all agents; router and manager do not count."""
    agents = [row for row in rows if row.role == Role.AGENT]
    return Summary(
        up=sum(row.state in ("up", "elsewhere") for row in agents),
        agents=len(agents),
        samples_per_s=sum(row.samples_per_s for row in agents),
        samples=sum(row.samples for row in agents),
        recording=recording,
    )
