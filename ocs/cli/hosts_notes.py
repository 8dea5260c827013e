"""What an operator should know of a host besides its table, and what to do about it: a line each."""

from collections.abc import Iterator, Mapping
from typing import Any

from ocs.cli.hosts_model import DOCKER_SERVICE, UNKNOWN, Answer, Condition, HostView, Row
from ocs.cli.readable import count, duration, printable

__all__ = ["exit_text", "notes"]

_MOST_NAMED = 5


def notes(view: HostView, now: float) -> list[str]:
    """Return the lines for one host.

    Args:
        view: the host.
        now: unix time, s.
    """
    return [*_manager_notes(view, now), *_row_notes(view, now)]


def _manager_notes(view: HostView, now: float) -> Iterator[str]:
    if not view.answers:
        yield f"no HostManager is described for {view.name}: nobody keeps its agents"
    if not view.described:
        yield f"{view.answers[0].instance_id} is registered, but not in this site file"
    for answer in view.answers:
        yield from _trouble(view.name, answer)
        yield from _files(answer, now)
        yield from _docker(answer)


def _trouble(host: str, answer: Answer) -> Iterator[str]:
    name = answer.instance_id
    if answer.condition is Condition.AWAY:
        yield (
            f"{name} does not answer: it is not running, or has no connection to the router; on {host}: "
            "`ocs-local-support start agent`, or what `ocs-install-systemd` has set up"
        )
    elif answer.condition is Condition.STOPPED:
        yield f"{answer.message}, so that nothing is kept: on {host}, `ocs-local-support start process`"
    elif answer.message and answer.condition is not Condition.NO_ROUTER:  # that is told once, not for each host
        yield f"{name}: {printable(answer.message)}"


def _files(answer: Answer, now: float) -> Iterator[str]:
    for file, (ok, timestamp, message) in answer.files.items():
        if not ok:
            which = "the site file" if file == "[SCF]" else file
            when = _ago(timestamp, now)
            yield f"{which}, read {when}, cannot be used, and the last good reading holds: {printable(message, 400)}"


def _docker(answer: Answer) -> Iterator[str]:
    if answer.docker_trouble:
        yield f"docker: {printable(answer.docker_trouble, 400)}"
    orphans = [_service(identity, said) for identity, said in answer.section("orphans").items()]
    if orphans:
        yield f"{count(len(orphans), 'orphaned container')}: {_named(orphans)} (task remove_orphans ends them)"
    for instance_id, tag in answer.section("new_tags").items():
        yield f"{instance_id}: the image {tag} is not on this machine yet (task docker_pull fetches it)"


def _service(identity: str, said: Any) -> str:
    return str(said.get("service") if isinstance(said, Mapping) and said.get("service") else identity)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _row_notes(view: HostView, now: float) -> Iterator[str]:
    if view.absent:
        manager = view.answers[0].instance_id
        yield f"{manager} does not know of {_named(view.absent)} yet: `ocsbow status --reload-config` makes it look"
    for row in view.rows:
        yield from _instance_notes(row, now)


def _instance_notes(row: Row, now: float) -> Iterator[str]:
    name = row.instance_id
    if row.child.get("trouble"):
        yield f"{name}: {printable(str(row.child['trouble']), 400)}"
    elif row.state == "unstable":
        yield f"{name} keeps ending{_last_end(row, now)} (`ocs logs {name}` has more)"
    if row.child.get("restart_required"):
        yield f"{name} runs with an older configuration or image: `ocs restart {name}`"
    if "/" in row.agent_class:
        described, _, said = row.agent_class.partition("/")
        yield f"{name} is {described} in this site file, and {said} in its manager's"
    if row.state == "up" and row.agent is not None and row.agent.expired:
        yield f"{name} runs, but the registry hears no heartbeat of it"
    if (
        row.child.get("operable") is False
        and not row.child.get("trouble")
        and row.agent_class != DOCKER_SERVICE
        and row.target != UNKNOWN
    ):
        yield f"{name} cannot be started or stopped by its manager: {_why_inoperable(row.agent_class)}"


def _why_inoperable(agent_class: str) -> str:
    if agent_class.endswith("[d?]"):
        return "no service of its compose files is the instance's"
    return "see `ocs logs` of the manager, or its session's messages"


def _last_end(row: Row, now: float) -> str:
    """Return how it last ended and what it said, to be put behind something."""
    end, how = _latest(row), exit_text(row, now)
    lines = end.get("lines") if end is not None else None
    said = [str(line).strip() for line in lines if str(line).strip()] if isinstance(lines, list | tuple) else []
    return (f", last with {how}" if how else "") + (f": {printable(said[-1])}" if said else "")


def exit_text(row: Row, now: float) -> str:
    """Return how and when an instance last ended; empty where its manager tells of no end.

    Args:
        row: the instance.
        now: unix time, s.
    """
    end = _latest(row)
    return "" if end is None else ", ".join(part for part in (_how(end), _ago(end.get("time"), now)) if part)


def _latest(row: Row) -> Mapping[str, Any] | None:
    ends = row.child.get("exits")
    last = ends[-1] if isinstance(ends, list | tuple) and ends else None
    return last if isinstance(last, Mapping) else None


def _how(end: Mapping[str, Any]) -> str:
    if end.get("signal"):
        return f"signal {end['signal']}"
    return f"code {end['code']}" if end.get("code") is not None else printable(str(end.get("text") or "ended"), 40)


def _ago(timestamp: Any, now: float) -> str:
    return f"{duration(max(0.0, now - timestamp))} ago" if isinstance(timestamp, int | float) else ""
