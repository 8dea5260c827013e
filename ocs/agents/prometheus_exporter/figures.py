"""Which figures there are, and how they are read from the status of an agent's process. Pure functions.

Names follow Prometheus' own rules: base units, counters end in ``_total``.
Source: https://prometheus.io/docs/practices/naming/
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["ASKED", "FAMILIES", "Adapter", "Family", "Figure", "figures_of", "text"]

_MAX_TEXT = 255
"""Characters of a label's value."""
_MAX_ENTRIES = 10_000
"""Entries that are read of one map or list of an agent's."""


class Family(NamedTuple):
    """What figures of one name have in common."""

    kind: str
    """``gauge`` or ``counter``."""
    help: str
    labels: tuple[str, ...]


class Figure(NamedTuple):
    """One value."""

    name: str
    labels: tuple[str, ...]
    value: float


_AGENT = ("agent",)
_OPERATION = ("agent", "agent_class", "operation")
_INSTANCE = ("host", "instance")

FAMILIES: Mapping[str, Family] = {
    "ocs_agent_up": Family("gauge", "Whether an agent has been heard within 5 s.", ("agent", "agent_class")),
    "ocs_agent_heartbeat_age_seconds": Family("gauge", "Time since an agent was heard.", ("agent", "agent_class")),
    "ocs_agents": Family("gauge", "Agents that have been heard, by state: alive or expired.", ("state",)),
    "ocs_operation_code": Family(
        "gauge",
        "1 none, 2 starting, 3 running, 4 stopping, 5 succeeded, 6 failed, 7 expired, 8 degraded.",
        _OPERATION,
    ),
    "ocs_operation_degraded": Family("gauge", "Whether an operation runs and cannot do its work.", _OPERATION),
    "ocs_agent_messages_total": Family("counter", "Messages on recorded feeds since the agent's start.", _AGENT),
    "ocs_recorder_samples_total": Family("counter", "Values that a recorder has taken.", _AGENT),
    "ocs_recorder_lag_seconds": Family("gauge", "Time since a recorder took anything of the feeds it follows.", _AGENT),
    "ocs_recorder_lost_messages_total": Family("counter", "Messages that could not be had again.", _AGENT),
    "ocs_recorder_behind_messages": Family("gauge", "Messages that a recorder knows of and has not got yet.", _AGENT),
    "ocs_recorder_dropped_messages_total": Family("counter", "Messages refused, by reason.", ("agent", "reason")),
    "ocs_recorder_queue_bytes": Family("gauge", "What waits in a recorder for the disk.", _AGENT),
    "ocs_recorder_file_age_seconds": Family("gauge", "Age of the file that is being written.", _AGENT),
    "ocs_recorder_disk_free_bytes": Family("gauge", "Room on the disk that a recorder writes to.", _AGENT),
    "ocs_influx_points_total": Family("counter", "Points that a database has taken.", _AGENT),
    "ocs_influx_waiting_points": Family("gauge", "Points that wait for their database.", _AGENT),
    "ocs_influx_spool_bytes": Family("gauge", "What waits on the disk for a database.", _AGENT),
    "ocs_influx_dropped_points_total": Family("counter", "Points that no database will have.", ("agent", "reason")),
    "ocs_influx_connected": Family("gauge", "Whether a publisher's database takes points.", _AGENT),
    "ocs_influx_lag_seconds": Family("gauge", "How long the oldest point has been waiting.", _AGENT),
    "ocs_instance_up": Family("gauge", "Whether an instance of a host manager runs.", _INSTANCE),
    "ocs_instance_wanted": Family("gauge", "Whether it is meant to.", _INSTANCE),
    "ocs_instance_restarts_total": Family("counter", "How often it has been started again.", _INSTANCE),
    "ocs_instance_cpu_seconds_total": Family("counter", "Processor time of its processes.", _INSTANCE),
    "ocs_instance_memory_bytes": Family("gauge", "Resident memory of its processes.", _INSTANCE),
    "ocs_instance_stability": Family("gauge", "1: has not failed lately; towards 0: does not stay up.", _INSTANCE),
    "ocs_host_load": Family("gauge", "Load of a machine, over a minute.", ("host",)),
    "ocs_host_memory_bytes": Family("gauge", "Memory of a machine.", ("host",)),
    "ocs_host_memory_used_bytes": Family("gauge", "Memory of a machine that is in use.", ("host",)),
    "ocs_host_disk_free_bytes": Family("gauge", "Room on the disk of a host manager.", ("host",)),
    "ocs_pysmurf_files_total": Family(
        "counter", "Files: announced, hashed, entered, known before.", ("agent", "result")
    ),
    "ocs_pysmurf_queue_files": Family("gauge", "Files that are not in the database yet.", _AGENT),
    "ocs_pysmurf_datagrams_total": Family("counter", "Datagrams: received, dropped, refused.", ("agent", "result")),
    "ocs_watcher_alarms": Family("gauge", "Alarms of a watcher.", ("agent", "severity", "state")),
    "ocs_watcher_alarm_active": Family(
        "gauge", "1 for each alarm that fires, is acknowledged, muted or latched.", ("rule", "subject", "severity")
    ),
    "ocs_router_connected": Family("gauge", "Whether the exporter has a connection to the router.", ()),
    "ocs_exporter_scrape_seconds": Family("gauge", "How long the last answer took to make.", ()),
    "ocs_exporter_scrapes_total": Family("counter", "Answers so far.", ()),
    "ocs_exporter_series": Family("gauge", "Series of the last answer.", ()),
    "ocs_exporter_left_out_series": Family("gauge", "Series that the last answer had no room for.", ()),
    "ocs_exporter_malformed_heartbeats_total": Family("counter", "Messages on heartbeat topics that were none.", ()),
    "ocs_exporter_asked_total": Family("counter", "Questions to agents, by answer.", ("agent_class", "result")),
}


def text(value: Any) -> str:
    """Return anything as the value of a label: bounded, and such that UTF-8 has it."""
    return str(value)[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _number(value: Any) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _map(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    for _, entry in zip(range(_MAX_ENTRIES), _map(value).items(), strict=False):
        yield entry


@dataclass
class _Source:
    """Figures of one agent, as they are found."""

    data: Mapping[Any, Any]
    labels: tuple[str, ...]

    def take(self, name: str, value: Any, *more: str) -> Iterator[Figure]:
        found = _number(value)
        if found is not None:
            yield Figure(name, (*self.labels, *more), found)

    def take_all(self, names: Mapping[str, str]) -> Iterator[Figure]:
        for name, key in names.items():
            yield from self.take(name, self.data.get(key))

    def take_by(self, name: str, counts: Any, *always: str) -> Iterator[Figure]:
        """Take a map from reason to count; the reasons in ``always`` are told from 0 on."""
        for reason, count in {**dict.fromkeys(always, 0), **dict(_entries(counts))}.items():
            yield from self.take(name, count, text(reason))


Adapter = Callable[[str, Mapping[Any, Any], float], Iterator[Figure]]
"""Reads figures from ``session.data``: of which agent, the data, and when they were told (unix s)."""


def recorder_figures(agent: str, data: Mapping[Any, Any], now: float) -> Iterator[Figure]:
    """Read the process ``record`` of an aggregator."""
    of = _Source(data, (agent,))
    yield from of.take_all(
        {
            "ocs_recorder_samples_total": "values_recorded",
            "ocs_recorder_queue_bytes": "waiting_bytes",
            "ocs_recorder_disk_free_bytes": "disk_free_bytes",
        }
    )
    messages = _map(data.get("messages"))
    yield from of.take("ocs_recorder_lost_messages_total", messages.get("lost", 0))
    yield from of.take("ocs_recorder_behind_messages", messages.get("behind"))
    yield from of.take_by("ocs_recorder_dropped_messages_total", data.get("dropped"))
    heard = [_number(_map(entry).get("last_refresh")) for _, entry in _entries(data.get("providers"))]
    newest = max((when for when in heard if when is not None), default=None)
    if newest is not None:
        yield from of.take("ocs_recorder_lag_seconds", max(0.0, now - newest))
    yield from of.take("ocs_recorder_file_age_seconds", _file_age(data.get("current_file"), now))


def _file_age(path: Any, now: float) -> float | None:
    """Return how old a file is by its name, which begins with the time of its beginning (unix s)."""
    stem = path.rpartition("/")[2].partition(".")[0] if isinstance(path, str) else ""
    digits = stem.partition("_")[0]
    return max(0.0, now - int(digits)) if digits.isascii() and digits.isdigit() and len(digits) < 12 else None  # noqa: PLR2004 - digits of a time


def publisher_figures(agent: str, data: Mapping[Any, Any], now: float) -> Iterator[Figure]:  # noqa: ARG001 - an Adapter
    """Read the process ``record`` of an InfluxDB publisher."""
    of = _Source(data, (agent,))
    yield from of.take_all(
        {
            "ocs_influx_points_total": "points",
            "ocs_influx_waiting_points": "waiting_points",
            "ocs_influx_spool_bytes": "spool_bytes",
            "ocs_influx_lag_seconds": "lag",
        }
    )
    yield from of.take_by("ocs_influx_dropped_points_total", data.get("dropped"), "refused", "conflict", "spool_full")
    if isinstance(data.get("connected"), bool):
        yield from of.take("ocs_influx_connected", float(data["connected"]))


def manager_figures(agent: str, data: Mapping[Any, Any], now: float) -> Iterator[Figure]:  # noqa: ARG001 - an Adapter
    """Read the process ``manager`` of a host manager."""
    machine = _map(data.get("host"))
    host = text(machine.get("name") or agent)
    of = _Source(machine, (host,))
    yield from of.take_all(
        {
            "ocs_host_load": "load",
            "ocs_host_memory_bytes": "memory_bytes",
            "ocs_host_memory_used_bytes": "memory_used_bytes",
            "ocs_host_disk_free_bytes": "disk_free_bytes",
        }
    )
    children = data.get("child_states")
    for child in children[:_MAX_ENTRIES] if isinstance(children, list | tuple) else ():
        if isinstance(child, Mapping) and isinstance(child.get("instance_id"), str):
            yield from _instance_figures(host, child)


def _instance_figures(host: str, child: Mapping[Any, Any]) -> Iterator[Figure]:
    of = _Source(child, (host, text(child["instance_id"])))
    yield from of.take("ocs_instance_up", float(child.get("next_action") == "up"))
    yield from of.take("ocs_instance_wanted", float(child.get("target_state") == "up"))
    yield from of.take_all(
        {
            "ocs_instance_restarts_total": "restarts",
            "ocs_instance_cpu_seconds_total": "cpu_seconds",
            "ocs_instance_memory_bytes": "memory_bytes",
            "ocs_instance_stability": "stability",
        }
    )


_FILES = ("announced", "hashed", "entered", "known")
_DATAGRAMS = ("received", "dropped", "refused")


def pysmurf_figures(agent: str, data: Mapping[Any, Any], now: float) -> Iterator[Figure]:  # noqa: ARG001 - an Adapter
    """Read the process ``run`` of a pysmurf monitor."""
    of = _Source(data, (agent,))
    for result in _FILES:
        yield from of.take("ocs_pysmurf_files_total", data.get(f"files_{result}_total"), result)
    for result in _DATAGRAMS:
        yield from of.take("ocs_pysmurf_datagrams_total", data.get(f"datagrams_{result}_total"), result)
    waiting = [_number(data.get(key)) for key in ("files_queued", "files_pending")]
    if None not in waiting:
        yield from of.take("ocs_pysmurf_queue_files", sum(each or 0.0 for each in waiting))


_ACTIVE = ("firing", "acknowledged", "muted", "latched")


def watcher_figures(agent: str, data: Mapping[Any, Any], now: float) -> Iterator[Figure]:  # noqa: ARG001 - an Adapter
    """Read the process ``watch`` of a watcher."""
    alarms = data.get("alarms")
    counts: dict[tuple[str, str], int] = {("critical", "firing"): 0, ("warning", "firing"): 0, ("info", "firing"): 0}
    for alarm in alarms[:_MAX_ENTRIES] if isinstance(alarms, list | tuple) else ():
        if not isinstance(alarm, Mapping):
            continue
        severity, state = text(alarm.get("severity")), text(alarm.get("state"))
        counts[severity, state] = counts.get((severity, state), 0) + 1
        if state in _ACTIVE:
            labels = (text(alarm.get("rule")), text(alarm.get("subject")), severity)
            yield Figure("ocs_watcher_alarm_active", labels, 1.0)
    for (severity, state), count in counts.items():
        yield Figure("ocs_watcher_alarms", (agent, severity, state), float(count))


ASKED: Mapping[str, tuple[str, Adapter]] = {
    "AggregatorAgent": ("record", recorder_figures),
    "InfluxDBAgent": ("record", publisher_figures),
    "InfluxDBAgentv2": ("record", publisher_figures),
    "HostManager": ("manager", manager_figures),
    "PysmurfMonitor": ("run", pysmurf_figures),
    "WatcherAgent": ("watch", watcher_figures),
}
"""Which process of agents of a class is asked for its status, and how the answer is read."""


def figures_of(agent_class: str, agent: str, data: Any, now: float) -> list[Figure]:
    """Read what an agent's process tells.

    Args:
        agent_class: one of `ASKED`.
        agent: the agent's instance-id.
        data: its ``session.data``, whatever it is.
        now: when it was told (unix s).
    """
    return list(ASKED[agent_class][1](text(agent), _map(data), now))
