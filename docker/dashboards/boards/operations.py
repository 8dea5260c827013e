"""The operation monitor: every operation of every agent as a coloured state over time."""

from typing import Final

from dashboards.description import Backend, Board, Kind, Panel, Query, Section, Variable
from dashboards.states import ALIVE, OPERATION

__all__ = ["BOARD"]

_PROMETHEUS: Final = Backend.PROMETHEUS
_INFLUXDB: Final = Backend.INFLUXDB

_CHOSEN: Final = 'agent=~"$agent",operation=~"$operation"'
_OPERATION: Final = "{{agent}} {{operation}}"
_PUBLISHED: Final = """FROM "$registry" WHERE "feed" = 'agent_operations' AND $timeFilter"""

_COUNTS: Final = (
    Panel(
        "Agents alive",
        "Agents that were heard in the last 5 seconds.",
        Kind.TILES,
        {_PROMETHEUS: Query('ocs_agents{state="alive"}', "alive")},
        width=4,
        height=4,
    ),
    Panel(
        "Agents expired",
        "Agents that have fallen silent: stopped, crashed, or cut off from the router.",
        Kind.TILES,
        {_PROMETHEUS: Query('ocs_agents{state="expired"}', "expired")},
        limits={1: "purple"},
        width=4,
        height=4,
    ),
    Panel(
        "Operations running",
        "Operations that run and do their work.",
        Kind.TILES,
        {_PROMETHEUS: Query("count(ocs_operation_code == 3) or vector(0)", "running")},
        width=4,
        height=4,
    ),
    Panel(
        "Operations failed",
        "Operations whose last run failed. A process of which the site says `restart` starts again by itself.",
        Kind.TILES,
        {_PROMETHEUS: Query("count(ocs_operation_code == 6) or vector(0)", "failed")},
        limits={1: "red"},
        width=4,
        height=4,
    ),
    Panel(
        "Operations degraded",
        "Operations that run and cannot do their work at the moment: a device or a server is away.",
        Kind.TILES,
        {_PROMETHEUS: Query("sum(ocs_operation_degraded) or vector(0)", "degraded")},
        limits={1: "orange"},
        width=4,
        height=4,
    ),
    Panel(
        "Restarts",
        "How often HostManagers have had to start an instance again, in the time shown.",
        Kind.TILES,
        {_PROMETHEUS: Query("sum(increase(ocs_instance_restarts_total[$__range])) or vector(0)", "restarts")},
        limits={1: "yellow"},
        width=4,
        height=4,
    ),
)

_STATES: Final = (
    Panel(
        "Operations",
        "A bar for each operation: green runs, blue has succeeded, red has failed, orange runs degraded, purple is"
        " of an agent that has expired. A gap: nobody was there to tell.",
        Kind.STATES,
        {
            _PROMETHEUS: Query(f"ocs_operation_code{{{_CHOSEN}}}", _OPERATION),
            _INFLUXDB: Query(
                f"SELECT last(/^${{operation:regex}}$/) {_PUBLISHED} GROUP BY time($__interval) fill(none)", "$col"
            ),
        },
        states=OPERATION,
        width=24,
        height=16,
    ),
    Panel(
        "Now",
        "The state of each operation, as it was told last.",
        Kind.TILES,
        {_INFLUXDB: Query(f"SELECT last(/^${{operation:regex}}$/) {_PUBLISHED}", "$col")},
        states=OPERATION,
        width=24,
        height=10,
    ),
    Panel(
        "Agents",
        "Green while an agent is heard, purple after 5 seconds of silence.",
        Kind.STATES,
        {_PROMETHEUS: Query('ocs_agent_up{agent=~"$agent"}', "{{agent}}")},
        states=ALIVE,
        height=9,
    ),
    Panel(
        "What is wrong now",
        "Operations that have failed, run degraded, or whose agent has expired.",
        Kind.TABLE,
        {_PROMETHEUS: Query(f"ocs_operation_code{{{_CHOSEN}}} >= 6")},
        states=OPERATION,
        height=9,
    ),
    Panel(
        "Silence",
        "Seconds since each agent was heard last, the 20 longest: 1 or less is well, and above 5 an agent is expired.",
        Kind.LINES,
        {_PROMETHEUS: Query('topk(20, ocs_agent_heartbeat_age_seconds{agent=~"$agent"})', "{{agent}}")},
        unit="s",
        limits={5: "purple"},
    ),
    Panel(
        "Restarts",
        "Instances that a HostManager has started again because they ended by themselves.",
        Kind.LINES,
        {_PROMETHEUS: Query("increase(ocs_instance_restarts_total[$__rate_interval])", "{{host}} {{instance}}")},
    ),
)

BOARD: Final = Board(
    "operations",
    "Operation monitor",
    "Every operation of every agent: what runs, what has stopped, who is silent.",
    (Section("At a glance", _COUNTS), Section("States", _STATES)),
    {
        _PROMETHEUS: (
            Variable("agent", "Agent", "label_values(ocs_operation_code, agent)", many=True),
            Variable(
                "operation", "Operation", 'label_values(ocs_operation_code{agent=~"$agent"}, operation)', many=True
            ),
        ),
        _INFLUXDB: (
            Variable("registry", "Registry", """SHOW MEASUREMENTS WHERE "feed" = 'agent_operations'""", hidden=True),
            Variable("part", "Part of a name"),
            Variable(
                "operation", "Operation", 'SHOW FIELD KEYS FROM "$registry"', regex="/^.*${part:raw}.*$/", many=True
            ),
        ),
    },
    since="now-6h",
)
