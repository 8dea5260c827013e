"""What a HostManager says of itself and its instances, taken from its `session.data`, which may hold anything."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ManagedChild", "ManagerReport", "planned"]


_LARGEST = 1e15
"""No number of seconds or bytes that is told here is larger."""


@dataclass(frozen=True, slots=True)
class ManagedChild:
    """One instance, as its manager told of it."""

    name: str
    agent_class: str
    next_action: str
    """Where it is: "up", "down"; on its way "start", "start_at", "wait_start", "wait_dead"; "?": nobody knows."""
    target: str = "up"
    """What it is to be: "up", "down", "passive"."""
    ready: bool = False
    """Whether it has been heard since it was started."""
    start_level: int = 0
    pid: int | None = None
    uptime: float | None = None
    """How long its process had run, in seconds; None: there is none, or it is a container."""
    restarts: int = 0
    due_in: float | None = None
    """How long it was until it is started again, in seconds."""
    last_exit: str = ""
    """How its last process ended, if one has."""
    last_words: str = ""
    """The last line which that process printed."""
    trouble: str = ""
    cpu_percent: float | None = None
    memory_bytes: int | None = None

    @property
    def counts(self) -> bool:
        """Whether the user expects to see it: it is to be up, or is on its way, or has been up."""
        return self.target == "up" or self.next_action not in ("down", "?") or bool(self.last_exit)


@dataclass(frozen=True, slots=True)
class ManagerReport:
    """All that a manager told at one moment."""

    children: tuple[ManagedChild, ...]
    time: float
    """When it came, in seconds on the clock of the reactor."""
    trouble: str = ""
    """What is wrong with what it reads and with what it works by, in a line."""

    @property
    def gist(self) -> list[tuple[str, str, int | None]]:
        """What people want to see at once when it has changed."""
        return [(child.name, child.next_action, child.pid) for child in self.children]

    @property
    def settled(self) -> bool:
        """Whether all are what they are to be."""
        return all(child.next_action in (child.target, "?") for child in self.children if child.target != "passive")

    @classmethod
    def of(cls, data: Mapping[str, Any], now: float, wall: float) -> "ManagerReport":
        """Return what `session.data` says; what cannot be understood is left out.

        Args:
            data: as it came.
            now: the present, in seconds on the clock of the reactor.
            wall: the present, in seconds since 1970.
        """
        states = data.get("child_states")
        children = [_child(state, wall) for state in (states if isinstance(states, list) else ()) if _is_child(state)]
        ordered = tuple(sorted(children, key=lambda child: child.start_level))
        return cls(ordered, now, "; ".join([*_mistakes(data), *_engine_trouble(data)]))


def planned(instances: Iterable[Any]) -> tuple[ManagedChild, ...]:
    """Return what is told of instances of the site file (`InstanceConfig`) until their manager tells of them."""
    return tuple(
        ManagedChild(instance.instance_id, instance.agent_class, "start", start_level=instance.start_level)
        for instance in instances
    )


def _is_child(state: Any) -> bool:
    return isinstance(state, Mapping) and isinstance(state.get("instance_id"), str)


def _child(state: Mapping[str, Any], wall: float) -> ManagedChild:
    exits = state.get("exits")
    last = exits[-1] if isinstance(exits, list) and exits and isinstance(exits[-1], Mapping) else {}
    next_start = _number(state.get("next_start"))
    return ManagedChild(
        name=state["instance_id"],
        agent_class=str(state.get("agent_class", "?")),
        next_action=str(state.get("next_action", "?")),
        target=str(state.get("target_state", "?")),
        ready=bool(state.get("ready")),
        start_level=_whole(state.get("start_level")) or 0,
        pid=_whole(state.get("pid")),
        uptime=_number(state.get("uptime_s")),
        restarts=_whole(state.get("restarts")) or 0,
        due_in=None if next_start is None else max(0.0, next_start - wall),
        last_exit=str(last.get("text") or ""),
        last_words=_last_line(last.get("lines")),
        trouble=str(state.get("trouble") or ""),
        cpu_percent=_number(state.get("cpu_percent")),
        memory_bytes=_whole(state.get("memory_bytes")),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < _LARGEST else None


def _last_line(lines: Any) -> str:
    found = [str(line) for line in lines] if isinstance(lines, list) else []
    return next((line for line in reversed(found) if line.strip()), "")


def _mistakes(data: Mapping[str, Any]) -> list[str]:
    parsed = data.get("config_parse_status")
    found = parsed.values() if isinstance(parsed, Mapping) else ()
    return [
        str(status[2])
        for status in found
        if isinstance(status, list | tuple) and len(status) > 2 and not status[0]  # noqa: PLR2004 - ok, time, message
    ]


def _engine_trouble(data: Mapping[str, Any]) -> list[str]:
    docker = data.get("docker")
    broken = isinstance(docker, Mapping) and docker.get("ok") is False
    return [f"docker: {docker.get('message')}"] if broken and isinstance(docker, Mapping) else []
