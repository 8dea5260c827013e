"""The docker services of the compose files, as instances: those that the site config file claims, and the others."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred, ensureDeferred

from ocs.agents.host_manager.instances import HOSTED, ManagedInstance
from ocs.agents.host_manager.roster import Roster, name_class
from ocs.agents.host_manager.runner import NO_RUNNER, Status
from ocs.agents.host_manager.service_runs import ServiceRuns
from ocs.errors import OCSError

__all__ = ["Composed", "ServiceRunner", "follow_services", "new_tags", "service_pids"]


LINES_KEPT = 10
"""How much of what a container printed before its end is kept, in lines."""


class Composed(Protocol):
    """What is wanted of the compose files."""

    services: Mapping[str, dict[str, Any]]
    """What `parse_docker_state` says of each service, by its name; ``running`` is None while nobody knows."""
    orphans: Mapping[str, dict[str, Any]]
    """Containers of services that are no longer described, by container id."""
    new_tags: Mapping[str, str]
    """Images that docker has yet to fetch, by service."""
    status: Mapping[str, tuple[bool, float, str]]
    """Of each file: whether it could be read, when (unix s), and what there is to say."""
    trouble: str
    """What is wrong with docker; empty while all is well."""

    def start(self) -> None:
        """Begin to watch."""

    def stop(self) -> "Deferred[Any]":
        """End that."""

    async def pull(self, progress: Callable[[str], None]) -> None:
        """Fetch images."""

    async def remove_orphans(self, stop_time: float, progress: Callable[[str], None]) -> None:
        """Stop and remove orphans; ``stop_time`` in seconds."""

    async def logs(self, service: str, lines: int) -> list[str]:
        """Return the last of what a service has printed."""

    async def up(self, service: str) -> None:
        """Start a service."""

    async def down(self, service: str) -> None:
        """Stop a service, and remove its container."""


class ServiceRunner:
    """Starts and stops one docker service; one thing at a time, the last wish counts.

    Args:
        compose: the compose files.
        service: the service's name.
        on_done: called when something has been carried out.
    """

    def __init__(self, compose: Composed, service: str, on_done: Callable[[], None]) -> None:
        self.service = service
        self.busy = False
        """Whether docker is at it."""
        self.failed = ""
        """Why the last start came to nothing."""
        self.runs = ServiceRuns()
        """What its containers have been through."""
        self._compose = compose
        self._on_done = on_done
        self._next: Callable[[str], Awaitable[None]] | None = None

    def up(self) -> None:
        """Start it."""
        self._want(self._compose.up)

    def down(self) -> None:
        """Stop it, and remove its container."""
        self._want(self._compose.down)

    @property
    def status(self) -> Status:
        """Whether its container runs, and the exit code of the last."""
        found = self._compose.services.get(self.service)
        if found is None or found["running"] is None:
            return None, None
        return bool(found["running"]), None if found["running"] else found.get("exit_code")

    def observe(self, found: Mapping[str, Any]) -> None:
        """Take in what a look has shown of the service; what it printed before its end is asked for."""
        ended = self.runs.observe(found)
        if ended is not None:
            ensureDeferred(self._ask_for_lines(ended))

    async def _ask_for_lines(self, ended: dict[str, Any]) -> None:
        with suppress(OCSError):  # its container may be gone by now: then there is nothing to tell
            ended["lines"] = await self._compose.logs(self.service, LINES_KEPT)
            self._on_done()

    def _want(self, action: Callable[[str], Awaitable[None]]) -> None:
        self._next = action
        if not self.busy:
            self.busy = True
            ensureDeferred(self._work())

    async def _work(self) -> None:
        while self._next is not None:
            action, self._next, self.failed = self._next, None, ""
            try:
                await action(self.service)
            except Exception as error:  # whatever docker, or what speaks to it, has to say: it belongs to this service
                self.failed = " ".join(str(error).split()) or type(error).__name__
        self.busy = False
        self._on_done()


def follow_services(roster: Roster, compose: Composed, on_done: Callable[[], None]) -> None:
    """Match the records with the services that there are.

    Args:
        roster: records are given their runners, and the mark of what runs them; services that no record claims get
            records of their own, which are only watched.
        compose: the compose files.
        on_done: called when a runner has carried something out.
    """
    claimed = {record.agent_script for record in roster.values() if not record.passive_tracking}
    for record in list(roster.values()):
        if record.agent_script == HOSTED:
            continue
        service = compose.services.get(record.agent_script or "")
        if _is_unclaimed(record) and (service is None or record.agent_script in claimed):
            roster.discard(record.instance_id)
        else:
            _match(record, service, compose, on_done)
    for name in compose.services:
        if name not in claimed and name not in roster:
            roster.add(_unclaimed(name))
            _match(roster[name], compose.services[name], compose, on_done)


def _is_unclaimed(record: ManagedInstance) -> bool:
    return record.agent_class == "[docker]"


def _unclaimed(service: str) -> ManagedInstance:
    return ManagedInstance(
        "docker",
        "[docker]",
        service,
        f"[docker]:{service}",
        passive_tracking=True,
        agent_script=service,
        target_state="passive",
    )


def _match(
    record: ManagedInstance, service: Mapping[str, Any] | None, compose: Composed, on_done: Callable[[], None]
) -> None:
    if service is None:
        record.prot, record.operable = NO_RUNNER, False
    elif not isinstance(record.prot, ServiceRunner):
        record.prot, record.operable = ServiceRunner(compose, record.agent_script or "", on_done), True
    if isinstance(record.prot, ServiceRunner) and service is not None:
        record.prot.observe(service)
    if not _is_unclaimed(record):
        name_class(record, record.agent_class.partition("[")[0], "[d]" if record.operable else "[d?]")
    record.restart_required = record.changed or _is_outdated(service or {})


def _is_outdated(service: Mapping[str, Any]) -> bool:
    """Tell whether a container runs another image than the compose file names now, as far as docker knows that."""
    wanted, running = service.get("image_id"), service.get("running_image")
    return bool(service.get("running")) and wanted not in (None, "", "unknown") and running != wanted


def service_pids(roster: Roster) -> list[int]:
    """Return the first processes of the containers that run, as far as they can be seen from here."""
    runs = (record.prot.runs for record in roster.values() if isinstance(record.prot, ServiceRunner))
    return [each.pid for each in runs if each.pid is not None]


def new_tags(roster: Roster, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the images that docker has yet to fetch, by instance-id."""
    return {
        record.instance_id: tags[record.agent_script or ""] for record in roster.values() if record.agent_script in tags
    }
