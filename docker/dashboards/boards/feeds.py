"""The feeds: what agents publish, as plots, and how much of it there is."""

from typing import Final

from dashboards.description import Backend, Board, Kind, Panel, Query, Section, Variable

__all__ = ["BOARD"]

_PROMETHEUS: Final = Backend.PROMETHEUS
_INFLUXDB: Final = Backend.INFLUXDB

_CHOSEN: Final = """FROM "$agent" WHERE "feed" =~ /^${feed:regex}$/ AND $timeFilter"""

_DATA: Final = (
    Panel(
        "Fields",
        "What the chosen fields were over time. Where there are more values than pixels, `Shown` says what becomes of"
        " those of one pixel.",
        Kind.LINES,
        {
            _INFLUXDB: Query(
                f"SELECT ${{shown:raw}}(/^${{field:regex}}$/) {_CHOSEN} GROUP BY time($__interval) fill(none)", "$col"
            )
        },
        width=24,
        height=14,
    ),
    Panel(
        "Newest values",
        "The newest value of each chosen field, of whatever type.",
        Kind.TABLE,
        {_INFLUXDB: Query(f'SELECT last(/^${{field:regex}}$/) {_CHOSEN} GROUP BY "feed"')},
        height=9,
    ),
    Panel(
        "Values a minute",
        "How many values of each chosen field have arrived in the database.",
        Kind.LINES,
        {_INFLUXDB: Query(f"SELECT count(/^${{field:regex}}$/) {_CHOSEN} GROUP BY time(1m) fill(0)", "$col")},
        height=9,
    ),
)

_RATES: Final = (
    Panel(
        "Messages",
        "Messages that each agent publishes, a second, over all its feeds.",
        Kind.LINES,
        {_PROMETHEUS: Query('rate(ocs_agent_messages_total{agent=~"$agent"}[$__rate_interval])', "{{agent}}")},
        unit="cps",
        width=24,
        height=12,
    ),
    Panel(
        "Messages in the time shown",
        "An agent with 0 here has published nothing.",
        Kind.TABLE,
        {_PROMETHEUS: Query('sum by (agent) (increase(ocs_agent_messages_total{agent=~"$agent"}[$__range]))')},
        height=9,
    ),
    Panel(
        "All agents together",
        "Messages a second at the router, over all agents that number theirs.",
        Kind.LINES,
        {_PROMETHEUS: Query("sum(rate(ocs_agent_messages_total[$__rate_interval]))", "messages")},
        unit="cps",
        height=9,
    ),
)

BOARD: Final = Board(
    "feeds",
    "Feeds",
    "What agents publish: choose an agent, its feed and the fields.",
    (Section("Data", _DATA), Section("Rates", _RATES)),
    {
        _PROMETHEUS: (Variable("agent", "Agent", "label_values(ocs_agent_messages_total, agent)", many=True),),
        _INFLUXDB: (
            Variable("agent", "Agent", "SHOW MEASUREMENTS"),
            Variable("feed", "Feed", 'SHOW TAG VALUES FROM "$agent" WITH KEY = "feed"', many=True),
            Variable("field", "Fields", 'SHOW FIELD KEYS FROM "$agent"', many=True),
            Variable("shown", "Shown", choices=("mean", "min", "max", "last")),
        ),
    },
)
