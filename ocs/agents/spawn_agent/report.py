"""What the process `main` tells of a spawn agent's components."""

from typing import Any

from ocs.agents.spawn_agent.children import Children
from ocs.agents.spawn_agent.place import Place
from ocs.agents.spawn_agent.records import Record
from ocs.components.names import ComponentId

__all__ = ["report"]


def report(children: Children, place: Place, busy: dict[ComponentId, str]) -> dict[str, Any]:
    """Return all that there is to know, for `session.data`.

    Args:
        children: the components' processes.
        place: where this spawn agent is, and what is registered.
        busy: what is being done about components now.
    """
    return {
        "prefix": str(place.prefix),
        "host": place.host,
        "children": {name: _entry(children, place, name, record, busy) for name, record in children.records.items()},
        "trouble": children.trouble,
    }


def _entry(children: Children, place: Place, name: str, record: Record, busy: dict[ComponentId, str]) -> dict[str, Any]:
    child, process = children.child(name), children.process(name)
    log_file = child.command.log_file if child else None
    return {
        "component": record.component.to_json(),
        "instance_id": record.instance_id,
        "state": busy.get(record.component) or _state(place, record, process.pid if process else None),
        "pid": process.pid if process else None,
        "started": child.started if child else None,
        "exits": [note.to_json() for note in record.exits],
        "log_file": str(log_file or ""),
    }


def _state(place: Place, record: Record, pid: int | None) -> str:
    if pid is None:
        return "ended"
    return "running" if place.is_process(place.directory.find(record.component), pid) else "unregistered"
