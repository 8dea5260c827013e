"""The table of a site's hosts, as lines of styled text; nothing is printed here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ocs.cli.hosts_model import UNKNOWN, HostView, Row
from ocs.cli.hosts_notes import exit_text, notes
from ocs.cli.output import Line, Span
from ocs.cli.readable import duration, printable
from ocs.clients.scan import activity

__all__ = ["WIDE", "as_json", "table_lines"]

WIDE: Final = 120
"""Terminal width, in columns, from which the details are shown unasked."""

_COLUMNS: Final = ("instance-id", "agent-class", "state", "target")
_DETAILS: Final = ("pid", "uptime", "cpu", "memory", "restarts", "last exit")
_RIGHT: Final = frozenset({"pid", "uptime", "cpu", "memory", "restarts"})
_STATE_STYLES: Final[Mapping[str, str]] = {"up": "green", "down": "dim", "unstable": "bold red", UNKNOWN: "yellow"}


def table_lines(
    views: Sequence[HostView], now: float, *, details: bool = False, operations: bool = False
) -> list[Line]:
    """Return the tables of all hosts, with notes below each, columns under columns.

    Args:
        views: the hosts.
        now: unix time, s.
        details: also process number, uptime, load, memory, restarts, last end.
        operations: also what the agents do, as the registry knows.
    """
    columns = (*_COLUMNS, *(_DETAILS if details else ()), *(("operations",) if operations else ()))
    bodies = [[_cells(row, columns, now) for row in view.rows] for view in views]
    widths = [_width(columns, bodies, number) for number in range(len(columns))]
    lines: list[Line] = []
    for view, body in zip(views, bodies, strict=True):
        lines += [_heading(view), _line([Span(name, "bold") for name in columns], columns, widths)]
        lines += [_line(cells, columns, widths) for cells in body]
        lines += [[Span("  ! ", "yellow"), Span(note)] for note in notes(view, now)]
        lines.append([])
    return lines[:-1]


def _width(columns: Sequence[str], bodies: Sequence[Sequence[Sequence[Span]]], number: int) -> int:
    return max([len(columns[number]), *(len(cells[number].text) for body in bodies for cells in body)])


def _line(cells: Sequence[Span], columns: Sequence[str], widths: Sequence[int]) -> Line:
    line: Line = []
    for cell, name, width in zip(cells, columns, widths, strict=True):
        filled = cell.text.rjust(width) if name in _RIGHT else cell.text.ljust(width)
        line += [Span("  "), Span(filled, cell.style)]
    last = line[-1]
    line[-1] = Span(last.text.rstrip(), last.style)
    return line


def _heading(view: HostView) -> Line:
    facts = [_host_facts(answer.section("host")) for answer in view.answers]
    said = "; ".join(fact for fact in facts if fact)
    return [Span(f"Host: {view.name}", "bold"), Span(f"  ({said})" if said else "", "dim")]


def _host_facts(host: Mapping[str, Any]) -> str:
    facts = []
    load = host.get("load")
    first = load[0] if isinstance(load, list | tuple) and load else load
    if isinstance(first, int | float):
        facts.append(f"load {first:.2f}")
    used, total = host.get("memory_used_bytes"), host.get("memory_bytes")
    if isinstance(used, int | float) and isinstance(total, int | float):
        facts.append(f"memory {_bytes(used)} of {_bytes(total)}")
    if isinstance(host.get("disk_free_bytes"), int | float):
        facts.append(f"disk {_bytes(host['disk_free_bytes'])} free")
    return ", ".join(facts)


def _cells(row: Row, columns: Sequence[str], now: float) -> list[Span]:
    return [_cell(row, name, now) for name in columns]


def _cell(row: Row, column: str, now: float) -> Span:
    if column in _MEASURES:
        key, show = _MEASURES[column]
        value = row.child.get(key)
        return Span(show(value) if isinstance(value, int | float) else "")
    return {
        "instance-id": Span(printable(row.instance_id)),
        "agent-class": Span(printable(row.agent_class)),
        "state": Span(printable(row.state), _STATE_STYLES.get(row.state, "yellow")),
        "target": Span(printable(row.target), "" if row.as_targeted else "yellow"),
        "last exit": Span(exit_text(row, now)),
        "operations": Span(_operations(row)),
    }[column]


def _operations(row: Row) -> str:
    if row.agent is None or (row.agent.expired and row.target == "down"):
        return ""
    return printable(activity(row.agent))


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:  # noqa: PLR2004 - the next unit
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


_MEASURES: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "pid": ("pid", lambda value: f"{value:.0f}"),
    "uptime": ("uptime_s", duration),
    "cpu": ("cpu_percent", lambda value: f"{value:.1f} %"),
    "memory": ("memory_bytes", _bytes),
    "restarts": ("restarts", lambda value: f"{value:.0f}"),
}


def as_json(views: Sequence[HostView], now: float) -> list[dict[str, Any]]:
    """Return the same for machines, with all that the managers said of each instance.

    Args:
        views: the hosts.
        now: unix time, s.
    """
    return [
        {
            "host": view.name,
            "ok": view.ok,
            "managers": [_manager_json(answer) for answer in view.answers],
            "instances": [_row_json(row) for row in view.rows],
            "notes": notes(view, now),
        }
        for view in views
    ]


def _manager_json(answer: Any) -> dict[str, Any]:
    keys = ("config_parse_status", "docker", "orphans", "new_tags", "host", "version", "started")
    return {
        "instance_id": answer.instance_id,
        "condition": answer.condition.value,
        "message": answer.message,
        "degraded": answer.degraded,
        **{key: answer.data[key] for key in keys if key in answer.data},
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        **row.child,
        "instance_id": row.instance_id,
        "agent_class": row.agent_class,
        "state": row.state,
        "target": row.target,
        "manager": row.manager,
        "as_targeted": row.as_targeted,
    }
