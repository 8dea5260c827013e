"""``ocsbow config``: what the site file and the installation say."""

import argparse
from typing import Any

import ocs
from ocs import site_config
from ocs.agent_classes import installed_classes
from ocs.cli.output import say, say_json, table
from ocs.scf.model import HostConfig, SiteConfig

__all__ = ["show_config"]


def show_config(args: argparse.Namespace) -> int:
    """Print one topic; returns the exit code, 1 where a plugin cannot be used.

    Raises:
        OCSError: there is no site file, or it has a mistake in it.
    """
    site, host, _ = site_config.get_config(args, site_config.CONTROL)
    show = {"summary": _summary, "plugins": _plugins, "crossbar": _crossbar}[args.topic]
    return show(args, site, host)


def _summary(args: argparse.Namespace, site: SiteConfig, host: HostConfig | None) -> int:
    facts = {
        "version": ocs.__version__,
        "package": str(ocs.__file__),
        "site_file": site.source_file,
        "this_host": host.name if host is not None else None,
        "hosts": {name: [_instance(one) for one in other.instances] for name, other in site.hosts.items()},
    }
    if args.json:
        say_json(facts)
        return 0
    say(f"ocs {facts['version']} from {facts['package']}")
    say(f"site file: {facts['site_file'] or 'none'}")
    say(f"this host: {facts['this_host'] or 'not in the site file (choose one with --site-host)'}")
    for name, other in site.hosts.items():
        say()
        rows = [(one.instance_id, one.agent_class, one.manage) for one in other.instances]
        table(("instance-id", "agent-class", "manage"), rows, title=f"Host: {name}")
    return 0


def _instance(instance: site_config.InstanceConfig) -> dict[str, Any]:
    return {
        "instance_id": instance.instance_id,
        "agent_class": instance.agent_class,
        "manage": instance.manage,
        "start_level": instance.start_level,
        "arguments": instance.arguments,
    }


def _plugins(args: argparse.Namespace, _site: SiteConfig, _host: HostConfig | None) -> int:
    complaints: list[str] = []
    found = installed_classes(complaints.append)
    if args.json:
        say_json({"agent_classes": [info._asdict() for info in found.values()], "complaints": complaints})
        return int(bool(complaints))
    table(("agent-class", "plugin", "module"), [(one.name, one.plugin, one.module) for one in found.values()])
    for complaint in complaints:
        say(f"! {complaint}")
    return int(bool(complaints))


def _crossbar(args: argparse.Namespace, site: SiteConfig, host: HostConfig | None) -> int:
    bound = argparse.Namespace(**vars(args))
    site_config.add_site_attributes(bound, site, host)
    ours = host.crossbar if host is not None else None
    facts = {
        "wamp_server": bound.site_hub,
        "wamp_http": bound.site_http,
        "wamp_realm": bound.site_realm,
        "address_root": bound.address_root,
        "keys": bound.site_keys,
        "who_may_connect": "who has one of the keys"
        if bound.site_keys
        else "everybody: `ocs keys init` closes the site",
        "controlled_here": ours is not None,
        "config_dir": ours.cbdir if ours is not None else None,
        "binary": ours.binary if ours is not None else None,
    }
    if args.json:
        say_json(facts)
    else:
        table(("", "value"), [(name, "-" if value is None else value) for name, value in facts.items()])
    return 0
