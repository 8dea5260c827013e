"""``ocs config``: what is wrong with a site config file, what reading it would change, and what it says."""

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ocs import site_config
from ocs.cli.config_reload import Preview, preview
from ocs.cli.output import Line, Span, say, say_json, say_lines, table
from ocs.cli.parsing import seconds
from ocs.errors import SiteConfigError
from ocs.inspection.check import Found, Report, check_file
from ocs.inspection.problems import Level
from ocs.scf.model import HostConfig, InstanceConfig, SiteConfig

__all__ = ["add_arguments", "run"]

_CHECK = """\
Say everything that is wrong with a site config file, a line each, and what the
HostManagers would change if they read it now. Nothing is changed.

  ocs config check                      the site in force ($OCS_CONFIG_DIR, --site)
  ocs config check new.yaml             a file that is to be in force
  ocs config check new.yaml --against default.yaml
                                        what a change of files would do

The exit code is 1 if something will not work, with --strict also if something is
probably not as it was meant.
"""

_SHOW = """\
Show a site as programs read it: short words written out, arguments flattened,
each host with the router's addresses that hold for it.
"""

_LEVEL_STYLES = {Level.ERROR: "bold red", Level.WARNING: "bold yellow", Level.NOTE: "bold cyan"}
_MARKS = {"added": Span("+", "green"), "removed": Span("-", "red"), "changed": Span("~", "yellow")}

_ANSWER_TIME = 2.0
"""How long a HostManager may take to answer, in s; without an answer, one knows less."""


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the commands of ``ocs config``."""
    commands = parser.add_subparsers(dest="topic", metavar="check|show", required=True)
    check = _command(commands, "check", "what is wrong, and what a reload would change", _CHECK)
    check.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    check.add_argument("--against", metavar="OLD_FILE", help="compare with this file, not with what runs")
    check.add_argument("--offline", action="store_true", help="do not ask the HostManagers what runs")
    check.add_argument(
        "--timeout",
        metavar="S",
        type=seconds,
        default=_ANSWER_TIME,
        help=f"how long each HostManager may take to answer, in seconds ({_ANSWER_TIME:g})",
    )
    show = _command(commands, "show", "what the file says, as programs read it", _SHOW)
    show.add_argument("--host", metavar="HOST", help="this host alone")
    for command in (check, show):
        command.add_argument("--json", action="store_true", help="print JSON")
        site_config.add_arguments(command)
    return parser


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("file", metavar="FILE", nargs="?", help="the file; the site in force unless given")
    return command


def run(args: argparse.Namespace) -> int:
    """Carry out the command; returns the exit code.

    Raises:
        OCSError: there is no such file, or it cannot be shown for a mistake in it.
    """
    topics: Mapping[str, Callable[[argparse.Namespace], int]] = {"check": _check, "show": _show}
    return topics[args.topic](args)


def _check(args: argparse.Namespace) -> int:
    path = args.file or site_config.site_file_of(args)
    report = check_file(path, site_host=args.site_host, working_dir=args.working_dir)
    coming = preview(args, report)
    bad = report.count(Level.ERROR) + (report.count(Level.WARNING) if args.strict else 0)
    if args.json:
        say_json({"ok": not bad, **_as_json(report, coming)})
    else:
        say_lines(_lines(report, coming))
    return int(bool(bad))


def _as_json(report: Report, coming: Preview) -> dict[str, Any]:
    return {
        "file": report.file,
        "host": report.host.name if report.host else None,
        "refused": report.refused,
        "problems": [
            {"level": one.level.value, "file": one.file, "line": one.line, "message": one.message}
            for one in report.problems
        ],
        "reload": [
            {
                "host": one.host,
                "kind": one.change.kind,
                "instance_id": one.change.instance_id,
                "what": list(one.change.what),
                "restart_required": one.change.restart_required,
                "effect": one.effect,
            }
            for one in coming.changes
        ],
        "reload_notes": coming.notes,
    }


def _lines(report: Report, coming: Preview) -> Iterable[Line]:
    for found in report.problems:
        yield _problem(found)
    yield _verdict(report)
    for note in coming.notes:
        yield [Span(note)]
    if not coming.changes and coming.compared:
        yield [Span(f"A reload would change nothing{coming.compared}.")]
    for host in dict.fromkeys(one.host for one in coming.changes):
        yield [Span(f"A reload would change, on host {host}{coming.compared}:", "bold")]
        for one in coming.changes:
            if one.host == host:
                yield [Span("  "), _MARKS[one.change.kind], Span(f" {one.change.instance_id} {one.effect}")]


def _problem(found: Found) -> Line:
    place = f"{_near(found.file)}:{found.line}" if found.line else _near(found.file)
    return [Span(f"{place}: "), Span(found.level.value, _LEVEL_STYLES[found.level]), Span(f": {found.message}")]


def _verdict(report: Report) -> Line:
    errors, warnings = report.count(Level.ERROR), report.count(Level.WARNING)
    counts = [_count(errors, "error"), _count(warnings, "warning")]
    told = ", ".join(count for count in counts if count)
    if report.site is not None and not told:
        instances = sum(len(host.instances) for host in report.site.hosts.values())
        told = f"nothing wrong with {_count(instances, 'instance') or 'no instance'}"
        told += f" on {_count(len(report.site.hosts), 'host') or 'no host'}"
    style = "bold red" if errors else "bold yellow" if warnings else "bold green"
    return [Span(f"{_near(report.file)}: "), Span(told, style)]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def _near(path: str) -> str:
    """Return a path as one would type it here."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _show(args: argparse.Namespace) -> int:
    site = SiteConfig.from_yaml(args.file or site_config.site_file_of(args))
    if args.host is not None and args.host not in site.hosts:
        raise SiteConfigError(
            f"{site.source_file} has no host '{args.host}'; it has: {', '.join(site.hosts) or 'none'}"
        )
    hosts = {name: host for name, host in site.hosts.items() if args.host in (None, name)}
    if args.json:
        say_json({"file": site.source_file, "hub": _hub(site), "hosts": {n: _host(site, h) for n, h in hosts.items()}})
        return 0
    say(f"{site.source_file}")
    for name, value in _hub(site).items():
        say(f"  {name:<13} {'-' if value is None else value}")
    for name, host in hosts.items():
        say()
        _show_host(name, host)
    return 0


def _show_host(name: str, host: HostConfig) -> None:
    rows = [
        (one.instance_id, one.agent_class, one.manage, one.start_level, one.restart, " ".join(one.arguments))
        for one in host.instances
    ]
    columns = ("instance-id", "agent-class", "manage", "start-level", "restart", "arguments")
    table(columns, rows, title=f"Host: {name}")


def _hub(site: SiteConfig) -> dict[str, Any]:
    hub = site.hub
    names = ("wamp_server", "wamp_http", "wamp_realm", "address_root", "access_policy")
    return {name: getattr(hub, name) for name in names}


def _host(site: SiteConfig, host: HostConfig) -> dict[str, Any]:
    bound = argparse.Namespace()
    site_config.add_site_attributes(bound, site, host)
    return {
        "wamp_server": bound.site_hub,
        "wamp_http": bound.site_http,
        "wamp_realm": bound.site_realm,
        "log_dir": host.log_dir,
        "state_dir": host.state_dir,
        "crossbar": None if host.crossbar is None else dict(host.crossbar.data),
        "crossbar_timeout": host.crossbar_timeout,
        "agent_instances": [_instance(one) for one in host.instances],
    }


def _instance(one: InstanceConfig) -> dict[str, Any]:
    names = ("instance_id", "agent_class", "manage", "start_level", "restart", "arguments")
    return {name: getattr(one, name) for name in names}
