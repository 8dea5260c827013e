"""The agent service: requests to spawn and kill components, and what became of them."""

from typing import Final

from dashboards.description import Backend, Board, Kind, Panel, Query, Section, State
from dashboards.states import CONNECTED

__all__ = ["BOARD"]

_PROMETHEUS: Final = Backend.PROMETHEUS
_COMPLETE: Final = {0: State("incomplete", "orange"), 1: State("complete", "green")}
_TROUBLE: Final = {0: State("well", "green"), 1: State("trouble", "red")}

_CONNECTIONS: Final = (
    Panel(
        "Router",
        "Whether the service has a connection to the router; without, requests are refused.",
        Kind.TILES,
        {_PROMETHEUS: Query("ocs_agent_service_router_connected", "router")},
        states=CONNECTED,
        width=6,
        height=5,
    ),
    Panel(
        "Directory",
        "Whether all components that are registered with the router are known.",
        Kind.TILES,
        {_PROMETHEUS: Query("ocs_agent_service_location_complete", "directory")},
        states=_COMPLETE,
        width=6,
        height=5,
    ),
    Panel(
        "Audit log",
        "Trouble if it cannot be written; requests are refused then.",
        Kind.TILES,
        {_PROMETHEUS: Query("ocs_agent_service_audit_trouble", "audit log")},
        states=_TROUBLE,
        width=6,
        height=5,
    ),
    Panel(
        "Keys",
        "Trouble if the keys that tokens are checked with cannot be had.",
        Kind.TILES,
        {_PROMETHEUS: Query("ocs_agent_service_keys_trouble", "keys")},
        states=_TROUBLE,
        width=6,
        height=5,
    ),
)

_REQUESTS: Final = (
    Panel(
        "Requests",
        "Requests that were carried out, by kind and answer, a second.",
        Kind.LINES,
        {_PROMETHEUS: Query("rate(ocs_agent_service_requests_total[$__rate_interval])", "{{request}} {{answer}}")},
        unit="cps",
    ),
    Panel(
        "Refused",
        "Requests that were not carried out, by the status of the answer: 401 without a token, 403 without the role.",
        Kind.LINES,
        {_PROMETHEUS: Query("rate(ocs_agent_service_refused_total[$__rate_interval])", "{{status}}")},
        unit="cps",
    ),
    Panel(
        "How long they take",
        "The time within which 95 of 100 requests are answered, by kind.",
        Kind.LINES,
        {
            _PROMETHEUS: Query(
                "histogram_quantile(0.95,"
                " sum by (le, request) (rate(ocs_agent_service_request_seconds_bucket[$__rate_interval])))",
                "{{request}}",
            )
        },
        unit="s",
        width=8,
    ),
    Panel(
        "Being carried out",
        "Requests that have no answer yet.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_agent_service_running", "requests")},
        width=8,
    ),
    Panel(
        "Components",
        "Components that are registered with the router, by type.",
        Kind.LINES,
        {_PROMETHEUS: Query("ocs_agent_service_components", "{{type}}")},
        width=8,
    ),
)

BOARD: Final = Board(
    "agent-service",
    "Agent service",
    "Requests to spawn and kill components, and what became of them.",
    (Section("Health", _CONNECTIONS), Section("Requests", _REQUESTS)),
)
