"""Asking the HostManagers of a site, all at once: one that hangs does not hold up the others."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ocs import site_config
from ocs.base import ResponseCode
from ocs.cli import output
from ocs.cli.hosts_model import MANAGER_CLASS, Answer, Condition, HostView, managers_of, site_view
from ocs.clients.call_errors import REQUEST_ERROR, is_agent_away
from ocs.clients.http_connection import DeadlineError, NotDeliveredError
from ocs.clients.scan import AgentFound, from_registry
from ocs.errors import ControlClientError, OCSError, RouterError, SiteConfigError
from ocs.ocs_client import OCSClient
from ocs.scf import last_good

__all__ = ["ANSWER_TIME", "Mistake", "Registry", "Site", "in_parallel", "require_router", "site_file_json"]

ANSWER_TIME: Final = 5.0
"""How long a HostManager may take to answer, in s: one that is well does within milliseconds."""

_MOST_AT_ONCE: Final = 64
_REGISTRY_CLASS: Final = "RegistryAgent"

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Registry:
    """What became of asking the registry.

    Attributes:
        instance_id: the registry's own.
        described: whether the site file has it.
        message: why it told nothing; empty where it did.
        agents: whom it knows, by instance-id.
    """

    instance_id: str
    described: bool
    message: str
    agents: Mapping[str, AgentFound]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A site file that cannot be read.

    Attributes:
        file: which.
        message: where the mistake is, and what it is.
    """

    file: str
    message: str


class Site:
    """The site that a program talks to.

    Args:
        args: with the attributes of ``site_config.add_arguments``.
        timeout: how long each agent may take to answer, in s.
        privs: a password or a level, for what not everybody may ask.

    Attributes:
        config: what the file says; while it has a mistake in it, what it said when it was last good.
        site_file: where the site is described.
        mistake: why that file cannot be read as it is now; None while it can.

    Raises:
        OCSError: there is no site file, or one with a mistake in it that never was good.
    """

    def __init__(self, args: argparse.Namespace, timeout: float = ANSWER_TIME, privs: str | int | None = None) -> None:
        self.timeout = timeout
        self.privs = privs
        args, self.mistake = _readable(args)
        self.config, host, _ = site_config.get_config(args, site_config.CONTROL)
        if self.config.source_file is None:
            raise SiteConfigError("The hosts of a site are in its file: give --site-file, or set OCS_CONFIG_DIR")
        self.site_file = self.mistake.file if self.mistake else str(self.config.source_file)
        self.args = argparse.Namespace(**vars(args))
        site_config.add_site_attributes(self.args, self.config, host)

    def client(self, instance_id: str) -> OCSClient:
        """Return a client of one agent.

        Raises:
            ControlClientError: if it does not answer.
        """
        return OCSClient(instance_id, privs=self.privs, timeout=self.timeout, args=self.args)

    def managers(self) -> list[str]:
        """Return the HostManagers that the site file has."""
        return [name for host in self.config.hosts.values() for name in managers_of(host)]

    def ask(self, instance_id: str) -> Answer:
        """Ask one HostManager how its instances are; its absence is an answer as well."""
        try:
            return _answer(instance_id, self.client(instance_id))
        except ControlClientError as error:
            return Answer(instance_id, _condition(error), str(error))
        except OCSError as error:
            return Answer(instance_id, Condition.FAILED, str(error))

    def ask_all(self, instance_ids: Iterable[str]) -> dict[str, Answer]:
        """Ask several HostManagers at the same time."""
        names = list(dict.fromkeys(instance_ids))
        return dict(zip(names, in_parallel(self.ask, names), strict=True))

    def ask_registry(self) -> Registry:
        """Ask the registry whom it knows; its absence is an answer as well."""
        name = self._registry_id()
        described = name is not None
        name = name or "registry"
        try:
            client = site_config.get_control_client(name, args=self.args)
            client.timeout = self.timeout
            _, message, session = client.request("status", "main")
        except OCSError as error:
            return Registry(name, described, str(error), {})
        agents = {agent.instance_id: agent for agent in from_registry((session or {}).get("data") or {})}
        running = bool(session) and session.get("end_time") is None
        return Registry(name, described, "" if running else f"{name} keeps no list: {message}", agents)

    def _registry_id(self) -> str | None:
        instances = (one for host in self.config.hosts.values() for one in host.instances)
        return next((one.instance_id for one in instances if one.agent_class == _REGISTRY_CLASS), None)

    def look(self) -> tuple[list[HostView], Registry]:
        """Ask everybody, also HostManagers that only the registry knows, and return the hosts.

        Whether there is a router is left to whoever reads the answers.
        """
        described = self.managers()
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(self.ask_registry)
            answers = self.ask_all(described)
            registry = asked.result()
        answers |= self.ask_all(_further_managers(registry.agents.values(), answers))
        return site_view(self.config, answers, registry.agents), registry

    def view(self) -> list[HostView]:
        """Ask everybody, and return the hosts.

        Raises:
            RouterError: there is no router; the text says what to do.
        """
        views, registry = self.look()
        require_router(views, registry)
        return views


def site_file_json(site: Site) -> dict[str, Any]:
    """Return for machines where a site is described, and why that cannot be read (None while it can)."""
    return {"site_file": site.site_file, "site_file_mistake": site.mistake.message if site.mistake else None}


def _readable(args: argparse.Namespace) -> tuple[argparse.Namespace, Mistake | None]:
    """Return the arguments; while the site file has a mistake in it, with its last good copy in its place, and that.

    What runs goes on by the copy as well, and is to be asked and told things all the same.

    Raises:
        OCSError: there is no site file, or one that never was good.
    """
    try:
        site_config.get_config(args, site_config.CONTROL)
    except SiteConfigError as error:
        file = site_config.site_file_of(args)
        copy = last_good.copy_of(file) if last_good.is_mistake(error) else None
        if copy is None:
            raise
        output.warn(f"{error} (going by the file as it was last good)")
        return argparse.Namespace(**{**vars(args), "site": None, "site_file": copy}), Mistake(file, str(error))
    return args, None


def require_router(views: Iterable[HostView], registry: Registry) -> None:
    """Raise a RouterError where nobody could be asked for want of a router."""
    answers = [answer for view in views for answer in view.answers]
    lost = [answer for answer in answers if answer.condition is Condition.NO_ROUTER]
    if lost and len(lost) == len(answers) and registry.message:
        raise RouterError(lost[0].message)


def _further_managers(agents: Iterable[AgentFound], known: Mapping[str, Answer]) -> list[str]:
    return [
        agent.instance_id
        for agent in agents
        if agent.agent_class == MANAGER_CLASS and not agent.expired and agent.instance_id not in known
    ]


def in_parallel(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Call ``work`` with each item, each in a thread of its own, and return the results in the items' order."""
    if not items:
        return []
    with ThreadPoolExecutor(min(len(items), _MOST_AT_ONCE)) as pool:
        return list(pool.map(work, items))


def _answer(instance_id: str, client: OCSClient) -> Answer:
    manager = getattr(client, "manager", None)
    if manager is None:
        return Answer(instance_id, Condition.FAILED, f"{instance_id} has no process manager: it is no HostManager")
    reply = manager.status()
    if reply.status != ResponseCode.OK:
        return Answer(instance_id, Condition.FAILED, f"{instance_id} refuses to tell its state: {reply.msg}")
    session: Mapping[str, Any] = reply.session or {}
    if not session or session.get("end_time") is not None or session.get("status") == "done":
        return Answer(instance_id, Condition.STOPPED, f"the manager process of {instance_id} is not running")
    return Answer(
        instance_id, Condition.RUNNING, degraded=bool(session.get("degraded")), data=session.get("data") or {}
    )


def _condition(error: ControlClientError) -> Condition:
    cause = error.__cause__
    if is_agent_away(error):
        return Condition.AWAY
    if isinstance(cause, DeadlineError):
        return Condition.SILENT
    if error.name == REQUEST_ERROR or isinstance(cause, NotDeliveredError):
        return Condition.NO_ROUTER
    return Condition.FAILED
