"""The ways of the data: router, recorder, database, and what watches them."""

from typing import Final

from dashboards.description import Backend, Board, Kind, Panel, Query, Section, Variable
from dashboards.states import CONNECTED, OPERATION

__all__ = ["BOARD"]

_PROMETHEUS: Final = Backend.PROMETHEUS
_INFLUXDB: Final = Backend.INFLUXDB

_ROUTER: Final = (
    Panel(
        "Router",
        "Whether the exporter has a connection to the router.",
        Kind.STATES,
        {_PROMETHEUS: Query("ocs_router_connected", "router")},
        states=CONNECTED,
        width=12,
        height=5,
    ),
    Panel(
        "Database",
        "Whether each publisher can write into its database.",
        Kind.STATES,
        {_PROMETHEUS: Query("ocs_influx_connected", "{{agent}}")},
        states=CONNECTED,
        width=12,
        height=5,
    ),
    Panel(
        "Processes that keep data",
        "The operations called `record`: of recorders and of publishers into databases.",
        Kind.STATES,
        {
            _PROMETHEUS: Query('ocs_operation_code{operation="record"}', "{{agent}}"),
            _INFLUXDB: Query(
                """SELECT last(/_record$/) FROM "$registry" WHERE "feed" = 'agent_operations' AND $timeFilter"""
                " GROUP BY time($__interval) fill(none)",
                "$col",
            ),
        },
        states=OPERATION,
        width=24,
        height=6,
    ),
)

_RECORDER: Final = (
    Panel(
        "Lost messages",
        "Messages that could not be had again; each is a gap in the archive. `ocs data gaps` shows where.",
        Kind.TILES,
        {_PROMETHEUS: Query("ocs_recorder_lost_messages_total", "{{agent}}")},
        limits={1: "red"},
        width=6,
        height=6,
    ),
    Panel(
        "Free on the disk",
        "Bytes that are free where each recorder writes.",
        Kind.TILES,
        {_PROMETHEUS: Query("ocs_recorder_disk_free_bytes", "{{agent}}")},
        unit="bytes",
        width=6,
        height=6,
    ),
    Panel(
        "Samples",
        "Samples that each recorder has taken in, a second.",
        Kind.LINES,
        {_PROMETHEUS: Query("rate(ocs_recorder_samples_total[$__rate_interval])", "{{agent}}")},
        unit="cps",
        height=6,
    ),
    Panel(
        "Behind",
        "How old the newest data on the disk are. It grows while the disk is full or the recorder catches up.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_recorder_lag_seconds", "{{agent}}")},
        unit="s",
        width=8,
    ),
    Panel(
        "Waiting",
        "What has come and is not written yet.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_recorder_queue_bytes", "{{agent}}")},
        unit="bytes",
        width=8,
    ),
    Panel(
        "Age of the current file",
        "Falls to 0 with each new file.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_recorder_file_age_seconds", "{{agent}}")},
        unit="s",
        width=8,
    ),
)

_DATABASE: Final = (
    Panel(
        "Points",
        "Points that each publisher has written into its database, a second.",
        Kind.LINES,
        {_PROMETHEUS: Query("rate(ocs_influx_points_total[$__rate_interval])", "{{agent}}")},
        unit="cps",
        width=8,
    ),
    Panel(
        "Spool",
        "What waits on the disk for the database. It grows during an outage and is sent after it.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_influx_spool_bytes", "{{agent}}")},
        unit="bytes",
        width=8,
    ),
    Panel(
        "Behind",
        "How old the newest points in the database are.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_influx_lag_seconds", "{{agent}}")},
        unit="s",
        width=8,
    ),
    Panel(
        "Dropped points",
        "Points that are not in the database and never will be, by the reason.",
        Kind.TABLE,
        {_PROMETHEUS: Query("sum by (agent, reason) (ocs_influx_dropped_points_total)")},
        limits={1: "red"},
        width=24,
        height=6,
    ),
    Panel(
        "Values a minute",
        "Values of the chosen agent that have arrived in the database.",
        Kind.LINES,
        {
            _INFLUXDB: Query(
                'SELECT count(/.*/) FROM "$agent" WHERE $timeFilter GROUP BY time(1m), "feed" fill(0)', "$col"
            )
        },
        width=24,
        height=12,
    ),
)

_PYSMURF: Final = (
    Panel(
        "Files announced",
        "Files that pysmurf monitors have entered into their database, or could not, a second.",
        Kind.LINES,
        {_PROMETHEUS: Query("rate(ocs_pysmurf_files_total[$__rate_interval])", "{{agent}} {{result}}")},
        unit="cps",
    ),
    Panel(
        "Files waiting",
        "Files that are announced and not entered yet.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_pysmurf_queue_files", "{{agent}}")},
    ),
)

_EXPORTER: Final = (
    Panel(
        "Making the metrics",
        "Seconds that the exporter needs for an answer to Prometheus.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_exporter_scrape_seconds", "exporter")},
        unit="s",
    ),
    Panel(
        "Asking agents",
        "Requests for the status of a process, by the agent's class and what became of them, a second.",
        Kind.LINES,
        {_PROMETHEUS: Query("rate(ocs_exporter_asked_total[$__rate_interval])", "{{agent_class}} {{result}}")},
        unit="cps",
    ),
)

BOARD: Final = Board(
    "recording",
    "Recorder, router, database",
    "Whether data get where they belong: into files and into the database.",
    (
        Section("Connections", _ROUTER),
        Section("Recorder", _RECORDER),
        Section("Database", _DATABASE),
        Section("pysmurf", _PYSMURF),
        Section("Exporter", _EXPORTER),
    ),
    {
        _INFLUXDB: (
            Variable("registry", "Registry", """SHOW MEASUREMENTS WHERE "feed" = 'agent_operations'""", hidden=True),
            Variable("agent", "Agent", "SHOW MEASUREMENTS"),
        )
    },
)
