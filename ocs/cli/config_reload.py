"""What the HostManagers would change if they read a site config file now; nothing is changed."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ocs import site_config
from ocs.cli.hosts import Site
from ocs.cli.hosts_model import Answer, Condition, managers_of
from ocs.errors import OCSError
from ocs.inspection.check import Report
from ocs.inspection.reload import HostChange, compare_hosts, compare_sites, compare_with_running
from ocs.scf import last_good
from ocs.scf.model import HostConfig, SiteConfig

__all__ = ["Preview", "preview"]

_NO_ARGUMENTS = "Whether arguments have changed is not known of {hosts}: --against OLD_FILE compares them too."


@dataclass
class Preview:
    """What a reload would change.

    Attributes:
        changes: one for each instance.
        notes: what could not be found out, a line each.
        compared: with what, as the end of a sentence; empty: with nothing.
    """

    changes: list[HostChange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: str = ""


def preview(args: argparse.Namespace, report: Report) -> Preview:
    """Compare what a file says with another file, or with what runs.

    Args:
        args: of ``ocs config check``.
        report: of the file.

    Raises:
        SiteConfigError: the other file is missing, or has a mistake in it.
    """
    if args.against:
        old = SiteConfig.from_yaml(args.against)
        if report.site is not None and not report.refused:
            return Preview(compare_sites(old, report.site), compared=f", compared with {args.against}")
    if report.site is None or report.refused:
        return Preview(notes=["A reload would be refused: what runs stays as it is, on its last good reading."])
    if args.offline:
        return Preview()
    return _compare_with_running(args, report, report.site)


def _compare_with_running(args: argparse.Namespace, report: Report, new: SiteConfig) -> Preview:
    managers = {name: managers_of(host) for name, host in new.hosts.items()}
    wanted = [manager for names in managers.values() for manager in names]
    if not wanted:
        return Preview()
    asking = argparse.Namespace(**{**vars(args), "site": None, "site_file": report.file, "instance_id": None})
    answers = Site(asking, timeout=args.timeout).ask_all(wanted)
    found = Preview(notes=_absences(answers.values()))
    unsure: list[str] = []
    for name, names in managers.items():
        running = next((answers[one] for one in names if answers[one].condition is Condition.RUNNING), None)
        if running is None:
            continue
        found.compared = ", compared with what runs"
        in_force = _reading_in_force(args, report, name, running) if new.hosts[name] is report.host else None
        if in_force is None:
            unsure.append(name)
            found.changes += compare_with_running(name, new.hosts[name], running.children)
        else:
            found.changes += compare_hosts(name, in_force, new.hosts[name])
    if unsure:
        found.notes.append(_NO_ARGUMENTS.format(hosts=", ".join(unsure)))
    return found


def _absences(answers: Iterable[Answer]) -> list[str]:
    """Return a line for each HostManager that says nothing; one for all where there is no router."""
    away = [answer for answer in answers if answer.condition is not Condition.RUNNING]
    unreached = [answer for answer in away if answer.condition is Condition.NO_ROUTER]
    lines = [f"What runs is not known: {unreached[0].message}"] if unreached else []
    return lines + [f"What runs is not known: {one.message}" for one in away if one not in unreached]


def _reading_in_force(args: argparse.Namespace, report: Report, name: str, running: Answer) -> HostConfig | None:
    """Return what this machine's HostManager last read, where its copy is at hand and agrees with what it keeps."""
    for file in _files_in_force(args, report):
        copy = last_good.copy_of(file)
        host = _host_of(copy, name) if copy else None
        if host is not None and not compare_with_running(name, host, running.children):
            return host
    return None


def _files_in_force(args: argparse.Namespace, report: Report) -> Sequence[str]:
    try:
        return [report.file, site_config.site_file_of(args)]
    except OCSError:  # nothing says which one is in force
        return [report.file]


def _host_of(file: str, name: str) -> HostConfig | None:
    try:
        return SiteConfig.from_yaml(file).hosts.get(name)
    except OCSError:  # damaged, or just being replaced
        return None
