"""What HostManagers say, beside what the site file says: a record a host, a row an instance; nothing is asked here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from ocs.clients.scan import AgentFound
from ocs.scf.model import HostConfig, InstanceConfig, SiteConfig

__all__ = [
    "DOCKER_SERVICE",
    "MANAGER_CLASS",
    "UNKNOWN",
    "Answer",
    "Condition",
    "HostView",
    "Row",
    "each_row",
    "managers_of",
    "site_view",
]

MANAGER_CLASS: Final = "HostManager"
UNKNOWN: Final = "?"
DOCKER_SERVICE: Final = "[docker]"
"""The class of a container that is no agent of the site file, for all its manager knows."""

_UNSTABLE_BELOW: Final = 0.5
"""Stability of an instance that has failed once, 10 s ago, is 0.5; what failed again or just now is below."""


class Condition(StrEnum):
    """How a HostManager is."""

    RUNNING = "running"
    STOPPED = "stopped"
    """The agent answers; its process ``manager`` does not run."""
    AWAY = "away"
    """The router knows no such agent."""
    SILENT = "silent"
    """There was no answer in time."""
    NO_ROUTER = "no router"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of asking one HostManager.

    Attributes:
        instance_id: the HostManager's own.
        condition: how it is.
        message: why it is not running, in one line; empty where it is.
        degraded: whether it says of itself that something is wrong.
        data: the ``session.data`` of its process.
    """

    instance_id: str
    condition: Condition
    message: str = ""
    degraded: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> Mapping[str, tuple[bool, float, str]]:
        """File, or ``[SCF]`` for the site file, to whether it could be read, when (unix s), and why not."""
        statuses = _mapping(self.data.get("config_parse_status"))
        return {str(file): status for file, said in statuses.items() if (status := _parse_status(said)) is not None}

    @property
    def docker_trouble(self) -> str:
        """What is wrong with its docker engine; empty where nothing is."""
        docker = _mapping(self.data.get("docker"))
        return "" if docker.get("ok", True) else str(docker.get("message") or "does not work")

    def section(self, key: str) -> Mapping[str, Any]:
        """Return a part of its data that is a mapping, such as ``orphans``; an empty one where it is none."""
        return _mapping(self.data.get(key))

    @property
    def children(self) -> list[Mapping[str, Any]]:
        """Its instances, where it runs and says something that can be read."""
        states = self.data.get("child_states") if self.condition is Condition.RUNNING else None
        known = states if isinstance(states, list | tuple) else ()
        return [child for child in known if isinstance(child, Mapping) and child.get("instance_id")]


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return what an agent sent, where it is the mapping that it ought to be."""
    return value if isinstance(value, Mapping) else {}


def _parse_status(said: Any) -> tuple[bool, float, str] | None:
    match said:
        case [bool(ok), int() | float() as timestamp, str(message)]:
            return ok, float(timestamp), message
    return None


@dataclass(frozen=True, slots=True)
class Row:
    """One instance of a host.

    Attributes:
        instance_id: the instance; a container's service name where it is no agent.
        agent_class: with the marks ``[d]``, ``[d?]``, ``[docker]``, ``[unman]``.
        state: ``up``, ``down``, ``unstable``, ``starting`` (no heartbeat yet), ``?``, or the manager's next action.
        target: ``up``, ``down``, ``passive``; ``?`` where nobody knows, ``n/a`` of a HostManager itself.
        manager: the HostManager that has it; None without one.
        managed: whether that one is to keep it as it should be.
        child: what its manager says of it.
        agent: what the registry says of it.
    """

    instance_id: str
    agent_class: str
    state: str
    target: str
    manager: str | None = None
    managed: bool = True
    child: Mapping[str, Any] = field(default_factory=dict)
    agent: AgentFound | None = None

    @property
    def as_targeted(self) -> bool:
        """Whether it is as it should be, or nobody is to see to it."""
        return not self.managed or self.target in ("passive", "n/a") or self.state == self.target != UNKNOWN


@dataclass(frozen=True, slots=True)
class HostView:
    """One host.

    Attributes:
        name: as in the site file, or as its manager says.
        answers: what its HostManagers say: one as a rule, none where the host has no such instance.
        rows: its instances, the HostManager first.
        described: whether the site file has the host.
    """

    name: str
    answers: tuple[Answer, ...]
    rows: tuple[Row, ...]
    described: bool = True

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return all(_is_well(answer) for answer in self.answers) and all(row.as_targeted for row in self.rows)

    @property
    def absent(self) -> list[str]:
        """Instances that a running HostManager should have and does not know."""
        answered = any(answer.condition is Condition.RUNNING for answer in self.answers)
        return [row.instance_id for row in self.rows if answered and row.managed and row.state == row.target == UNKNOWN]


def _is_well(answer: Answer) -> bool:
    well = answer.condition is Condition.RUNNING and not answer.degraded and not answer.docker_trouble
    return well and all(ok for ok, _, _ in answer.files.values())


def managers_of(host: HostConfig) -> list[str]:
    """Return the instance-ids of a host's HostManagers."""
    return [instance.instance_id for instance in host.instances if instance.agent_class == MANAGER_CLASS]


def site_view(
    site: SiteConfig, answers: Mapping[str, Answer], agents: Mapping[str, AgentFound] | None = None
) -> list[HostView]:
    """Return the hosts of a site in the order of its file, then those that only their managers know.

    Args:
        site: the site file.
        answers: by instance-id of the HostManager; also of ones that the site file does not have.
        agents: what the registry knows, by instance-id; None where it was not asked.
    """
    known = agents or {}
    views = [_host_view(host, answers, known) for host in site.hosts.values()]
    described = {answer.instance_id for view in views for answer in view.answers}
    further = [answer for name, answer in answers.items() if name not in described]
    return views + [_unknown_host(answer, known) for answer in further]


def _host_view(host: HostConfig, answers: Mapping[str, Answer], agents: Mapping[str, AgentFound]) -> HostView:
    own = tuple(answers[name] for name in managers_of(host) if name in answers)
    rows = [_manager_row(answer) for answer in own]
    children = {str(child["instance_id"]): (answer, child) for answer in own for child in answer.children}
    manager = own[0].instance_id if own else None
    kept = [instance for instance in host.instances if instance.agent_class != MANAGER_CLASS]
    rows += [_instance_row(one, children.pop(one.instance_id, None), manager, agents) for one in kept]
    rows += [_child_row(answer, child, agents) for answer, child in children.values()]
    return HostView(str(host.name), own, tuple(rows))


def _unknown_host(answer: Answer, agents: Mapping[str, AgentFound]) -> HostView:
    said = answer.section("host").get("name")
    rows = [_manager_row(answer), *(_child_row(answer, child, agents) for child in answer.children)]
    return HostView(str(said or answer.instance_id.removeprefix("hm-")), (answer,), tuple(rows), described=False)


def _manager_row(answer: Answer) -> Row:
    state = {Condition.RUNNING: "up", Condition.STOPPED: "up"}.get(answer.condition, UNKNOWN)
    return Row(answer.instance_id, MANAGER_CLASS, state, "n/a", answer.instance_id, managed=False)


def _instance_row(
    instance: InstanceConfig,
    found: tuple[Answer, Mapping[str, Any]] | None,
    manager: str | None,
    agents: Mapping[str, AgentFound],
) -> Row:
    agent = agents.get(instance.instance_id)
    if found is not None:
        row = _child_row(*found, agents)
        return _with_class(row, _joined_class(instance.agent_class, row.agent_class))
    if instance.manage == "ignore":
        alive = "up" if agent is not None and not agent.expired else UNKNOWN
        name = f"{instance.agent_class}[unman]"
        return Row(instance.instance_id, name, alive, UNKNOWN, managed=False, agent=agent)
    mark = "[d]" if instance.manage.startswith("docker") else ""
    alive = "up" if manager is None and agent is not None and not agent.expired else UNKNOWN
    name = f"{instance.agent_class}{mark}"
    return Row(instance.instance_id, name, alive, UNKNOWN, manager, manager is not None, agent=agent)


def _with_class(row: Row, agent_class: str) -> Row:
    return Row(
        row.instance_id, agent_class, row.state, row.target, row.manager, row.managed, child=row.child, agent=row.agent
    )


def _joined_class(described: str, said: str) -> str:
    """Return the class that the manager gives; where the site file gives another, both."""
    base = said.partition("[")[0]
    return said if base in (described, "") else f"{described}/{said}"


def _child_row(answer: Answer, child: Mapping[str, Any], agents: Mapping[str, AgentFound]) -> Row:
    name, target = str(child["instance_id"]), str(child.get("target_state") or UNKNOWN)
    agent_class = str(child.get("agent_class") or UNKNOWN)
    return Row(name, agent_class, _state(child), target, answer.instance_id, child=dict(child), agent=agents.get(name))


def _state(child: Mapping[str, Any]) -> str:
    action, stability = str(child.get("next_action") or UNKNOWN), child.get("stability")
    failing = isinstance(stability, int | float) and stability < _UNSTABLE_BELOW
    if failing and child.get("target_state") == "up" and action != UNKNOWN:
        return "unstable"
    if action == "up" and child.get("ready") is False and child.get("agent_class") != DOCKER_SERVICE:
        return "starting"
    return action


def each_row(views: Sequence[HostView]) -> Iterator[Row]:
    """Yield the rows of all hosts."""
    for view in views:
        yield from view.rows
