"""What clients see: `session.data` of the process `manager`, made from the records."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ocs.agents.host_manager.hosted import HostedRunner, exit_code
from ocs.agents.host_manager.instances import ManagedInstance, steady_time
from ocs.agents.host_manager.resolve import stability_factor
from ocs.agents.host_manager.service_runs import ServiceRuns
from ocs.agents.host_manager.services import ServiceRunner
from ocs.agents.host_manager.usage import Usage
from ocs.scf.changes import Change
from ocs.supervisor import Child, PastRun

__all__ = ["child_state", "describe_change", "status_line"]

_LINES_SHOWN = 10


def child_state(minst: ManagedInstance, usage: Mapping[int, Usage]) -> dict[str, Any]:
    """Return the entry of ``child_states`` for one instance."""
    minst.fail_times, stability = stability_factor(minst.fail_times)
    return {
        "next_action": minst.next_action,
        "target_state": minst.target_state,
        "stability": round(stability, 4),
        "agent_class": minst.agent_class,
        "instance_id": minst.instance_id,
        "operable": minst.operable,
        "restart_required": minst.restart_required,
        "management": minst.management,
        "start_level": minst.start_level,
        "restart": minst.restart,
        "ready": minst.ready and minst.next_action == "up",
        "next_start": time.time() + minst.at - steady_time() if minst.next_action == "start_at" else None,
        **(_of_child(minst.prot.child, usage) if isinstance(minst.prot, HostedRunner) else _of_service(minst, usage)),
    }


def _of_child(child: Child, usage: Mapping[int, Usage]) -> dict[str, Any]:
    used = usage.get(child.pid or 0, Usage(None, None))
    return {
        "pid": child.pid,
        "cpu_percent": used.cpu_percent,
        "cpu_seconds": used.cpu_seconds,
        "memory_bytes": used.memory_bytes,
        "uptime_s": None if child.started is None else round(max(0.0, time.time() - child.started), 1),
        "restarts": child.restarts,
        "started": child.started,
        "exits": [_exit(run) for run in child.history],
        "trouble": child.output.trouble,
    }


def _of_service(minst: ManagedInstance, usage: Mapping[int, Usage]) -> dict[str, Any]:
    runs = minst.prot.runs if isinstance(minst.prot, ServiceRunner) else ServiceRuns()
    used = usage.get(runs.pid or 0, Usage(None, None))
    return {
        "pid": runs.pid,
        "cpu_percent": used.cpu_percent,
        "cpu_seconds": used.cpu_seconds,
        "memory_bytes": used.memory_bytes,
        "uptime_s": None if runs.started is None else round(max(0.0, time.time() - runs.started), 1),
        "restarts": runs.restarts,
        "started": runs.started,
        "exits": [dict(end) for end in runs.exits],
        "trouble": "" if minst.operable else f"no compose file describes the service {minst.agent_script}",
    }


def _exit(run: PastRun) -> dict[str, Any]:
    return {
        "time": run.ended,
        "code": exit_code(run.end) if run.end.signum is None else None,
        "signal": run.end.signum,
        "text": str(run.end),
        "lines": list(run.last_lines[-_LINES_SHOWN:]),
    }


def describe_change(change: Change) -> str:
    """Return a change of the site config file, in a line."""
    if change.kind != "changed":
        return f"{change.instance_id} has been {change.kind} in the site config file."
    hint = "; it has to be restarted for that to count" if change.restart_required else ""
    return f"{change.instance_id} has been changed in the site config file: {', '.join(change.what)}{hint}."


def status_line(instances: Iterable[ManagedInstance]) -> str:
    """Return how all do, in a line."""
    kept = [minst for minst in instances if not minst.passive_tracking]
    wanted = [minst for minst in kept if minst.target_state == "up"]
    up = sum(minst.next_action == "up" for minst in wanted)
    line = f"{up} of {len(wanted)} agents up"
    others = len(kept) - len(wanted)
    return f"{line}, {others} meant to be down" if others else line
