"""The machines: what HostManagers keep running, and what it needs."""

from typing import Final

from dashboards.description import Backend, Board, Kind, Panel, Query, Section, Variable
from dashboards.states import RUNNING

__all__ = ["BOARD"]

_PROMETHEUS: Final = Backend.PROMETHEUS
_CHOSEN: Final = 'host=~"$host",instance=~"$instance"'
_LEGEND: Final = "{{host}} {{instance}}"

_STATES: Final = (
    Panel(
        "Instances",
        "Which instances run, as the HostManager of their machine sees it.",
        Kind.STATES,
        {_PROMETHEUS: Query(f"ocs_instance_up{{{_CHOSEN}}}", _LEGEND)},
        states=RUNNING,
        width=24,
        height=10,
    ),
    Panel(
        "Stability",
        "1 is steady; each end of its own lets it fall, and it recovers with time.",
        Kind.LINES,
        {_PROMETHEUS: Query(f"ocs_instance_stability{{{_CHOSEN}}}", _LEGEND)},
    ),
    Panel(
        "Restarts in the time shown",
        "How often each instance has been started again after it had ended by itself.",
        Kind.TABLE,
        {_PROMETHEUS: Query(f"sum by (host, instance) (increase(ocs_instance_restarts_total{{{_CHOSEN}}}[$__range]))")},
        limits={1: "yellow"},
    ),
)

_NEEDS: Final = (
    Panel(
        "Processor",
        "Seconds of a processor's time that each instance takes, a second: 1 is one processor.",
        Kind.LINES,
        {_PROMETHEUS: Query(f"rate(ocs_instance_cpu_seconds_total{{{_CHOSEN}}}[$__rate_interval])", _LEGEND)},
        height=9,
    ),
    Panel(
        "Memory",
        "Memory that each instance holds.",
        Kind.LINES,
        {_PROMETHEUS: Query(f"ocs_instance_memory_bytes{{{_CHOSEN}}}", _LEGEND)},
        unit="bytes",
        height=9,
    ),
)

BOARD: Final = Board(
    "hosts",
    "Hosts",
    "What HostManagers keep running, how steadily, and what it needs of the machine.",
    (Section("States", _STATES), Section("What they need", _NEEDS)),
    {
        _PROMETHEUS: (
            Variable("host", "Host", "label_values(ocs_instance_up, host)", many=True),
            Variable("instance", "Instance", 'label_values(ocs_instance_up{host=~"$host"}, instance)', many=True),
        )
    },
)
