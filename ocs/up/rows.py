"""How each part of a running site does: a record each, made of what the supervisor and the monitor know."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ocs.base import OpCode
from ocs.monitor import AgentView
from ocs.supervisor import Child, Phase

__all__ = ["Health", "Recording", "Row", "Summary", "op_name", "rows_of", "state_of", "summary_of"]

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


@dataclass(frozen=True, slots=True)
class Row:
    """One agent, or the router, at one moment."""

    name: str
    agent_class: str
    state: str
    """In a word or two: up, starting, silent, no router, waiting, stopping, down; of others' agents: elsewhere."""
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
    """The last line it printed."""

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


def rows_of(
    children: Iterable[Child], classes: dict[str, str], agents: Iterable[AgentView], now: float, *, linked: bool = True
) -> list[Row]:
    """Return a row for each child, in their order, then one for each other living agent of the site.

    Args:
        children: what is supervised.
        classes: agent class of each child, by name.
        agents: what is heard.
        now: the present, on the clock of both.
        linked: whether the observer is joined to the router; if not, silence is the router's.
    """
    heard = {view.instance_id: view for view in agents}
    rows = [
        _child_row(child, classes.get(child.name, ""), heard.pop(child.name, None), now, linked) for child in children
    ]
    rows += [_other_row(view, now) for view in heard.values() if not view.expired]
    return rows


def _child_row(child: Child, agent_class: str, view: AgentView | None, now: float, linked: bool) -> Row:
    state, health = state_of(child, view, now, linked=linked)
    heard = _heard(view, now) if view else {}
    due = child.state.due
    return Row(
        name=child.name,
        agent_class=agent_class,
        state=state,
        health=health,
        restarts=child.restarts,
        pid=child.pid,
        trouble=_trouble(child),
        due_in=max(0.0, due - now) if due is not None and child.state.phase is Phase.WAITING else None,
        last_words=_last_words(child),
        last_exit=str(child.state.last_exit or ""),
        **(heard if child.state.alive else {"samples": heard.get("samples", 0)}),
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


def state_of(child: Child, view: AgentView | None, now: float, *, linked: bool = True) -> tuple[str, str]:
    """Return a child's state in a word and how good that is.

    An agent is up once a heartbeat of its present process has come; the router, which has none, once it is ready.
    """
    match child.state.phase:
        case Phase.DOWN:
            return "down", Health.IDLE
        case Phase.WAITING:
            return "waiting", Health.BAD
        case Phase.STOPPING:
            return "stopping", Health.CHANGING
        case Phase.UP:
            return _state_of_running(child, view, now, linked=linked)


def _state_of_running(child: Child, view: AgentView | None, now: float, *, linked: bool) -> tuple[str, str]:
    if child.name == ROUTER:
        return ("up", Health.GOOD) if child.ready else ("starting", Health.CHANGING)
    age = view.heartbeat_age if view else None
    if view is None or age is None or now - age < child.state.since:
        return "starting", Health.CHANGING
    if view.expired:
        return ("silent", Health.BAD) if linked else ("no router", Health.CHANGING)
    return "up", Health.BAD if OpCode.DEGRADED in view.op_codes.values() else Health.GOOD


def _trouble(child: Child) -> str:
    if child.state.phase is not Phase.WAITING:
        return f"log not written: {child.output.trouble}" if child.output.trouble else ""
    return ": ".join(part for part in (str(child.state.last_exit), _last_words(child)) if part)


def _last_words(child: Child) -> str:
    return _TIME_STAMP.sub("", child.output.tail.last_line())


def summary_of(rows: Iterable[Row], recording: Recording) -> Summary:
    """Return the sums over all agents."""
    agents = [row for row in rows if row.name != ROUTER]
    return Summary(
        up=sum(row.state in ("up", "elsewhere") for row in agents),
        agents=len(agents),
        samples_per_s=sum(row.samples_per_s for row in agents),
        samples=sum(row.samples for row in agents),
        recording=recording,
    )
