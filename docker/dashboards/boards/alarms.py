"""The alarms: what the watcher says, and what Prometheus's own rules say."""

from typing import Final

from dashboards.description import Backend, Board, Kind, Panel, Query, Section, Variable
from dashboards.states import ALARM, FIRING

__all__ = ["BOARD"]

_PROMETHEUS: Final = Backend.PROMETHEUS
_INFLUXDB: Final = Backend.INFLUXDB

_PUBLISHED: Final = """FROM "$watcher" WHERE "feed" = 'alarms' AND $timeFilter"""

_WATCHER: Final = (
    Panel(
        "Alarms of the watcher",
        "How many alarms are in which state, by their severity.",
        Kind.TILES,
        {_PROMETHEUS: Query("sum by (severity, state) (ocs_watcher_alarms)", "{{severity}} {{state}}")},
        width=24,
        height=5,
    ),
    Panel(
        "Alarms",
        "Each alarm over time. Acknowledge one with `ocs alarms ack`, silence a rule with `ocs alarms mute`.",
        Kind.STATES,
        {_PROMETHEUS: Query("ocs_watcher_alarm_active", "{{severity}}: {{rule}} {{subject}}")},
        states=FIRING,
        width=14,
        height=12,
    ),
    Panel(
        "Active now",
        "Alarms that last, acknowledged or not.",
        Kind.TABLE,
        {_PROMETHEUS: Query("ocs_watcher_alarm_active == 1")},
        states=FIRING,
        width=10,
        height=12,
    ),
)

_HISTORY: Final = (
    Panel(
        "Changes",
        "What has become of alarms, the newest first: when one came up, was acknowledged or muted, and was over.",
        Kind.TABLE,
        {
            _INFLUXDB: Query(
                f'SELECT "state", "severity", "rule", "subject", "message" {_PUBLISHED} ORDER BY time DESC LIMIT 500'
            )
        },
        states=ALARM,
        colored="state",
        width=24,
        height=16,
    ),
    Panel(
        "Changes an hour",
        "How often alarms have changed their state: many mean that a limit is too narrow, or something comes and goes.",
        Kind.LINES,
        {_INFLUXDB: Query(f'SELECT count("state") {_PUBLISHED} GROUP BY time(1h) fill(0)', "$col")},
        width=24,
    ),
)

_RULES: Final = (
    Panel(
        "Alerts of Prometheus",
        "What Prometheus's own rules say, as they send it to an Alertmanager.",
        Kind.STATES,
        {
            _PROMETHEUS: Query(
                'max by (alertname, alertstate, agent, operation, instance) (ALERTS{alertname=~"Ocs.*"})',
                "{{alertname}} {{alertstate}} {{agent}} {{operation}} {{instance}}",
            )
        },
        states=FIRING,
        width=24,
        height=10,
    ),
)

BOARD: Final = Board(
    "alarms",
    "Alarms",
    "What is wrong, since when, and how bad it is.",
    (Section("Watcher", _WATCHER), Section("History", _HISTORY), Section("Prometheus", _RULES)),
    {_INFLUXDB: (Variable("watcher", "Watcher", """SHOW MEASUREMENTS WHERE "feed" = 'alarms'""", hidden=True),)},
    since="now-6h",
)
