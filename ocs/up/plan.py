"""What `ocs up` is going to run, decided before anything is started."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ocs.agent_classes import find_agent_class
from ocs.errors import AgentClassError, DataFolderError, SiteConfigError
from ocs.router import health
from ocs.router.config import crossbar_config, listening_address
from ocs.router.ports import free_port, require_port
from ocs.router.process import router_command
from ocs.site_config import HOST, HostConfig, InstanceConfig, SiteConfig, get_config
from ocs.up.folder import DataFolder, shown_path
from ocs.up.hub import Choice, Found, Hub, choose_router, hub_of, is_local, site_text

__all__ = [
    "LeftOut",
    "Options",
    "SitePlan",
    "agent_argv",
    "demo_site_file",
    "make_plan",
    "read_site",
    "recording_folder",
    "router_config",
    "select_instances",
    "write_site_file",
]

_SELF_MADE = frozenset({"HostManager"})
"""Agents that would start a second copy of what `ocs up` runs."""

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

    @property
    def demo(self) -> bool:
        """Whether it is the packaged demonstration site."""
        return self.site_file is None and self.site is None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An instance of the site file that is not started, and why."""

    instance_id: str
    why: str


def select_instances(
    instances: Sequence[InstanceConfig], *, has_so3g: bool
) -> tuple[list[InstanceConfig], list[LeftOut]]:
    """Divide a host's instances into those to be started, in order of their start level, and those left out."""
    chosen: list[InstanceConfig] = []
    left_out: list[LeftOut] = []
    for instance in instances:
        why = _why_not(instance, has_so3g=has_so3g)
        if why is None:
            chosen.append(instance)
        else:
            left_out.append(LeftOut(instance.instance_id, why))
    return sorted(chosen, key=lambda instance: instance.start_level), left_out


def _why_not(instance: InstanceConfig, *, has_so3g: bool) -> str | None:
    if instance.agent_class in _SELF_MADE:
        return "`ocs up` itself starts this host's agents"
    if instance.manage != "host/up":
        return f"`manage: {instance.manage}` in the site file"
    if instance.agent_class == "AggregatorAgent" and not has_so3g:
        return "so3g, which writes .g3 files, is not installed: run `pip install 'ocs[hk]'`; nothing is recorded"
    return None


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
    """What agents are given."""
    client_site_file: Path
    """What clients are to be given: the same, but for a port chosen on the command line."""
    hub: Hub
    choice: Choice
    instances: tuple[InstanceConfig, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()
    """What the user should know, a line each."""

    records_to: Path | None = None
    """Where the aggregator writes, if there is one."""

    @property
    def overrides_hub(self) -> bool:
        """Whether agents must be told another router than their site file says."""
        return self.site_file != self.client_site_file


def agent_argv(plan: SitePlan, instance_id: str, working_dir: Path) -> tuple[str, ...]:
    """Return the command line that starts one agent."""
    argv = [sys.executable, "-m", "ocs.agent_cli", "--instance-id", instance_id]
    argv += ["--site-file", str(plan.site_file), "--site-host", plan.host, "--working-dir", str(working_dir)]
    if plan.overrides_hub:
        argv += ["--site-hub", plan.hub.wamp_server, "--site-http", plan.hub.wamp_http]
    return tuple(argv)


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
    instances, left_out = select_instances(host.instances, has_so3g=has_so3g())
    notes = check_classes(instances)
    hub = hub_of(site, host)
    choice = _choose(options, hub, own=host.crossbar is not None)
    wanted = _settle_port(options, hub, choice)
    if choice is not Choice.USE:
        router_command(folder.router)
    source = Path(str(site.source_file))
    plan = SitePlan(
        title="the demonstration site" if options.demo else f"site {shown_path(source)}",
        host=str(host.name),
        source=source,
        site_file=source,
        client_site_file=source if hub == wanted and not options.demo else folder.site_file,
        hub=wanted,
        choice=choice,
        instances=tuple(instances),
        left_out=tuple(left_out),
        records_to=recording_folder(instances, folder.root),
        notes=(*notes, *_router_notes(options, hub, wanted, choice)),
    )
    return replace(plan, site_file=plan.client_site_file) if options.demo else plan


def router_config(plan: SitePlan) -> dict[str, Any] | None:
    """Return the configuration of the router that is to be started, or None if none is."""
    return None if plan.choice is Choice.USE else crossbar_config(plan.hub)


def write_site_file(plan: SitePlan, folder: DataFolder) -> None:
    """Write the site file with the router's address in force into the data folder, where the plan wants it there.

    Raises:
        DataFolderError: it cannot be written.
    """
    if plan.client_site_file != folder.site_file:
        return
    source = plan.source
    site = SiteConfig.from_yaml(source)
    data = {"hub": site.hub.data, "hosts": {name: host.data for name, host in site.hosts.items()}}
    text = site_text(source.read_text(), data, hub_of(site, site.hosts[plan.host]), plan.hub, plan.host)
    try:
        plan.client_site_file.write_text(text)
    except OSError as error:
        raise DataFolderError(f"cannot write {plan.client_site_file}: {error.strerror}") from error


def check_classes(instances: Sequence[InstanceConfig]) -> list[str]:
    """Make sure that each instance's class can be found.

    Returns:
        What is wrong with plugins otherwise, a line each.

    Raises:
        AgentClassError: a class that no plugin offers, or whose module is not there.
    """
    notes: list[str] = []
    for instance in instances:
        try:
            found = find_agent_class(instance.agent_class, report=notes.append)
        except AgentClassError as error:
            reasons = "; ".join(dict.fromkeys([str(error), *notes]))
            raise AgentClassError(f"{instance.instance_id}: {reasons}") from error
        if not _module_exists(found.module):
            raise AgentClassError(
                f"{instance.instance_id}: plugin {found.plugin!r} names the module {found.module} for "
                f"{instance.agent_class}, and there is none: install it again"
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
    address, port = listening_address(crossbar_config(wanted))
    require_port(address, port)
    return wanted


def _router_notes(options: Options, hub: Hub, wanted: Hub, choice: Choice) -> list[str]:
    if choice is Choice.USE:
        return [f"using the router that answers at {hub.wamp_server}"]
    if choice is Choice.START_ELSEWHERE and options.port is None:
        return [f"port {hub.port} is in use: the router takes port {wanted.port} instead"]
    return []
