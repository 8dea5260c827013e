"""What `ocs up` is going to run, decided before anything is started."""

import argparse
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ocs.agent_classes import find_agent_class
from ocs.errors import AgentClassError, DataFolderError, SiteConfigError
from ocs.router import health
from ocs.router.config import crossbar_config
from ocs.router.ports import free_port, require_port
from ocs.router.process import router_command
from ocs.scf import reading
from ocs.site_config import HOST, HostConfig, InstanceConfig, SiteConfig, get_config
from ocs.up.closed import KeysNeeded, access_notes, closed_hub, keys_needed, require_known_keys
from ocs.up.folder import DataFolder, shown_path
from ocs.up.hub import Choice, Found, Hub, choose_router, hub_of, is_local
from ocs.up.site_file import MANAGER_CLASS, SiteEdit

__all__ = [
    "LeftOut",
    "Options",
    "SitePlan",
    "demo_site_file",
    "find_manager",
    "make_plan",
    "read_site",
    "recording_folder",
    "router_config",
    "select_instances",
    "write_site_file",
]

_COMPOSE_OPTION = "--docker-compose"

_PROBE_TIMEOUT = 3.0
"""How long a router that is there may take to answer, in seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for."""

    site_file: Path | None = None
    site: str | None = None
    site_host: str | None = None
    port: str | int | None = None
    no_router: bool = False
    secure: bool = False

    @property
    def demo(self) -> bool:
        """Whether it is the packaged demonstration site."""
        return self.site_file is None and self.site is None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An instance of the site file that is not started, and why."""

    instance_id: str
    why: str


def find_manager(site: SiteConfig, host: HostConfig) -> tuple[str, InstanceConfig | None]:
    """Return the instance-id of the HostManager that is to start a host's agents, and its instance if there is one."""
    for instance in host.instances:
        if instance.agent_class == MANAGER_CLASS:
            return instance.instance_id, instance
    taken = {instance.instance_id for each in site.hosts.values() for instance in each.instances}
    # Addresses are matched by their parts: a dot in one would make it two.
    wanted = f"hm-{re.sub(r'[^A-Za-z0-9_-]', '-', str(host.name))}"
    further = (f"{wanted}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([wanted], further) if name not in taken), None


def select_instances(
    instances: Sequence[InstanceConfig], manager: InstanceConfig | None = None, *, has_so3g: bool
) -> tuple[list[InstanceConfig], list[LeftOut]]:
    """Divide a host's instances into those to be started, in order of their start level, and those left out.

    Args:
        instances: all of them.
        manager: the host's own HostManager, which is in neither; None: it has none.
        has_so3g: whether there can be recording.
    """
    chosen: list[InstanceConfig] = []
    left_out: list[LeftOut] = []
    manages = ("host/up", "docker/up") if manager and _knows_docker(manager) else ("host/up",)
    for instance in instances:
        if instance is manager:
            continue
        why = _why_not(instance, manages, has_so3g=has_so3g)
        if why is None:
            chosen.append(instance)
        else:
            left_out.append(LeftOut(instance.instance_id, why))
    return sorted(chosen, key=lambda instance: instance.start_level), left_out


def _knows_docker(manager: InstanceConfig) -> bool:
    return any(word.partition("=")[0] == _COMPOSE_OPTION for word in manager.arguments)


def _why_not(instance: InstanceConfig, manages: Sequence[str], *, has_so3g: bool) -> str | None:
    if instance.agent_class == MANAGER_CLASS:
        return "one HostManager starts all agents of a host"
    if instance.manage == "docker/up" and instance.manage not in manages:
        return "`manage: docker/up`, and the host has no HostManager with `--docker-compose` in the site file"
    if instance.manage not in manages:
        return f"`manage: {instance.manage}` in the site file"
    if _cannot_record(instance, has_so3g=has_so3g):
        return "so3g, which writes .g3 files, is not installed: run `pip install 'ocs[hk]'`; nothing is recorded"
    return None


def _cannot_record(instance: InstanceConfig, *, has_so3g: bool) -> bool:
    return instance.agent_class == "AggregatorAgent" and instance.manage == "host/up" and not has_so3g


def has_so3g() -> bool:
    """Return whether the recording library is installed, without loading it."""
    return find_spec("so3g") is not None


@dataclass(frozen=True, slots=True)
class SitePlan:
    """Everything that is decided before a start."""

    title: str
    host: str
    source: Path
    """The site file that was read."""
    site_file: Path
    """What agents and clients are given: the same, or a copy with what is different in this run."""
    edit: SiteEdit
    """What that is."""
    manager: str
    """Instance-id of the HostManager that starts the agents."""
    hub: Hub
    choice: Choice
    instances: tuple[InstanceConfig, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()
    """What the user should know, a line each."""

    keys: KeysNeeded | None = None
    """What a closed site needs; None: it is open."""

    records_to: Path | None = None
    """Where the aggregator writes, if there is one."""

    @property
    def address(self) -> str:
        """The manager's address."""
        return f"{self.hub.address_root}.{self.manager}"


def recording_folder(instances: Sequence[InstanceConfig], working_dir: Path) -> Path | None:
    """Return where the site's aggregator writes, or None if none of the instances is an aggregator with a folder."""
    for instance in instances:
        words = list(instance.arguments)
        if instance.agent_class == "AggregatorAgent" and "--data-dir" in words[:-1]:
            return working_dir / words[words.index("--data-dir") + 1]
    return None


def demo_site_file() -> Path:
    """Return the packaged demonstration site."""
    return Path(str(files("ocs") / "demo" / "default.yaml"))


def read_site(options: Options) -> tuple[SiteConfig, HostConfig]:
    """Return the site and the host that are meant.

    Raises:
        SiteConfigError: there is no such file or host, or the file has a mistake.
    """
    path = options.site_file or (demo_site_file() if options.demo else None)
    wanted = argparse.Namespace(
        site=options.site, site_file=str(path) if path else None, site_host=options.site_host, instance_id=None
    )
    context = get_config(wanted, HOST)
    if context.host is None:
        raise SiteConfigError("`ocs up` needs a site file: --site none describes nothing to run")
    return context.site, context.host


def make_plan(options: Options, folder: DataFolder) -> SitePlan:
    """Read the site file, look at what is there, and decide. Nothing is started and nothing written.

    Args:
        options: what the user asked for.
        folder: where the run keeps its files.

    Raises:
        OCSError: the site file or the host is unknown or has a mistake, an agent class is unknown, the router cannot
            be had; the message says what to do.
    """
    site, host = read_site(options)
    manager, own = find_manager(site, host)
    instances, left_out = select_instances(host.instances, own, has_so3g=has_so3g())
    notes = check_classes({manager: MANAGER_CLASS} | _classes_here(instances))
    found = hub_of(site, host)
    hub = closed_hub(found, folder.keys, secure=options.secure)
    choice = _choose(options, hub, own=host.crossbar is not None)
    require_known_keys(found, hub, choice)
    wanted = _settle_port(options, hub, choice)
    if choice is not Choice.USE:
        router_command(folder.router)
    source = Path(str(site.source_file))
    edit = SiteEdit(str(host.name), found, wanted, None if own else manager, _kept_down(host.instances))
    return SitePlan(
        title="the demonstration site" if options.demo else f"site {shown_path(source)}",
        host=str(host.name),
        source=source,
        site_file=source if edit.nothing and not options.demo else folder.site_file,
        edit=edit,
        manager=manager,
        hub=wanted,
        choice=choice,
        instances=tuple(instances),
        left_out=tuple(left_out),
        keys=keys_needed(
            wanted, [manager, *_classes_here(instances)], make=options.secure and choice is not Choice.USE
        ),
        records_to=recording_folder(instances, folder.root),
        notes=(*notes, *_router_notes(options, hub, wanted, choice), *access_notes(found, wanted, choice)),
    )


def _classes_here(instances: Sequence[InstanceConfig]) -> dict[str, str]:
    """Return the classes that have to be installed; those of docker services are in their images."""
    return {each.instance_id: each.agent_class for each in instances if each.manage == "host/up"}


def _kept_down(instances: Sequence[InstanceConfig]) -> tuple[str, ...]:
    installed = has_so3g()
    return tuple(each.instance_id for each in instances if _cannot_record(each, has_so3g=installed))


def router_config(plan: SitePlan) -> dict[str, Any] | None:
    """Return the configuration of the router that is to be started, or None if none is.

    Raises:
        OCSError: the hub cannot be served, or the keys of a closed site are not there.
    """
    if plan.choice is Choice.USE:
        return None
    if not plan.hub.keys:
        return crossbar_config(plan.hub)
    from ocs.router.closed import closed_config  # noqa: PLC0415 - for closed sites alone

    return closed_config(plan.hub, Path(plan.hub.keys))


def write_site_file(plan: SitePlan, folder: DataFolder) -> None:
    """Write the site file with what is different in this run into the data folder, where the plan wants it there.

    Raises:
        SiteConfigError: the user's file has got a mistake in it meanwhile.
        DataFolderError: it cannot be written.
    """
    if plan.site_file != folder.site_file:
        return
    source = str(plan.source)
    text = plan.edit.apply(reading.read_text(source), source)
    new = plan.site_file.with_name(f"{plan.site_file.name}.new")
    try:
        new.write_text(text)
        new.replace(plan.site_file)
    except OSError as error:
        raise DataFolderError(f"cannot write {plan.site_file}: {error.strerror}") from error


def check_classes(classes: Mapping[str, str]) -> list[str]:
    """Make sure that each instance's class can be found.

    Args:
        classes: by instance-id.

    Returns:
        What is wrong with plugins otherwise, a line each.

    Raises:
        AgentClassError: a class that no plugin offers, or whose module is not there.
    """
    notes: list[str] = []
    for name, agent_class in classes.items():
        try:
            found = find_agent_class(agent_class, report=notes.append)
        except AgentClassError as error:
            reasons = "; ".join(dict.fromkeys([str(error), *notes]))
            raise AgentClassError(f"{name}: {reasons}") from error
        if not _module_exists(found.module):
            raise AgentClassError(
                f"{name}: plugin {found.plugin!r} names the module {found.module} for "
                f"{agent_class}, and there is none: install it again"
            )
    return list(dict.fromkeys(notes))


def _module_exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
    except Exception:  # importing a parent package runs somebody else's code; the agent itself will tell what is wrong
        return True


def _choose(options: Options, hub: Hub, *, own: bool) -> Choice:
    return choose_router(
        _look(hub),
        port=options.port,
        no_router=options.no_router,
        own=own,
        demo=options.demo,
        local=is_local(hub.host),
        address=hub.wamp_server,
    )


def _look(hub: Hub) -> Found:
    found = health.check(hub.wamp_server, hub.wamp_realm, _PROBE_TIMEOUT)
    if found.ok:
        return Found.ROUTER
    return Found.NOTHING if found.stage == "tcp" else Found.SOMETHING


def _settle_port(options: Options, hub: Hub, choice: Choice) -> Hub:
    """Return the hub at the port that is to be used, which is free."""
    if choice is Choice.USE:
        return hub
    if choice is Choice.START_ELSEWHERE:
        return hub.at_port(free_port())
    wanted = hub if options.port is None else hub.at_port(int(options.port))
    require_port(*wanted.listens_at)
    return wanted


def _router_notes(options: Options, hub: Hub, wanted: Hub, choice: Choice) -> list[str]:
    if choice is Choice.USE:
        return [f"using the router that answers at {hub.wamp_server}"]
    if choice is Choice.START_ELSEWHERE and options.port is None:
        return [f"port {hub.port} is in use: the router takes port {wanted.port} instead"]
    return []
