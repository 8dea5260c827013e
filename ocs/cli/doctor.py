"""``ocs doctor``: looks over the installation and the site, and says what to do."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from importlib.resources import files
from pathlib import Path

from ocs import access_diagnosis, diagnosis, site_config
from ocs.cli.output import program, say, say_json
from ocs.diagnosis import Finding, Level
from ocs.errors import OCSError
from ocs.scf.model import HostConfig, SiteConfig

__all__ = ["add_arguments", "diagnose", "main", "run"]

_MARKS = {Level.OK: "ok", Level.UNKNOWN: "??", Level.WARN: "warn", Level.FAIL: "FAIL"}


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of ``ocs doctor``."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for the router's answers (5)")
    return site_config.add_arguments(parser)


def diagnose(args: argparse.Namespace) -> Iterator[Finding]:
    """Look at everything, and yield what is found as it is found.

    Args:
        args: with the attributes of `add_arguments`.
    """
    yield diagnosis.check_python(sys.version_info[:3], sys.executable)
    try:
        site, host = _site(args)
    except OCSError as error:
        yield Finding("site file", Level.FAIL, str(error), "correct it; the rest of the site was not looked at")
        site, host = None, None
    yield from _packages(site, host)
    yield diagnosis.check_clock(time.time(), _written(site))
    yield diagnosis.check_clock_synchronised(diagnosis.ask_program)
    if site is not None and host is not None:
        yield _describe(args, site)
        yield from diagnosis.check_instances(host)
        if _names_a_site(args):  # the demonstration's folders are made by `ocs up`, wherever it is told to
            yield from diagnosis.check_folders(host, Path(args.working_dir or host.working_dir))
        yield from _router(args, site, host)


def _site(args: argparse.Namespace) -> tuple[SiteConfig, HostConfig | None]:
    if _names_a_site(args):
        return site_config.get_config(args, "*host*")[:2]
    demo = SiteConfig.from_yaml(_demo_file())
    return demo, demo.hosts["localhost"]


def _names_a_site(args: argparse.Namespace) -> bool:
    return bool(args.site_file or args.site or os.environ.get("OCS_CONFIG_DIR"))


def _demo_file() -> Path:
    return Path(str(files("ocs") / "demo" / "default.yaml"))


def _written(site: SiteConfig | None) -> float | None:
    return Path(site.source_file).stat().st_mtime if site is not None and site.source_file else None


def _describe(args: argparse.Namespace, site: SiteConfig) -> Finding:
    if _names_a_site(args):
        return Finding("site file", Level.OK, f"{site.source_file} has no mistakes")
    return Finding(
        "site file",
        Level.OK,
        "none given: looking at the demonstration site",
        "for your own, set OCS_CONFIG_DIR to the folder of its default.yaml, or give --site-file",
    )


def _packages(site: SiteConfig | None, host: HostConfig | None) -> Iterator[Finding]:
    needed = {}
    if site is not None and site_config.keys_folder(site, host):
        needed["keys"] = "each agent of a closed site"
    if host is not None and host.crossbar is not None:
        needed["router"] = "the router on this host"
    recorders = [one for one in host.instances if diagnosis.data_folder(one)] if host is not None else []
    if recorders:
        needed["hk"] = f"recording by {recorders[0].instance_id}"
    yield from diagnosis.check_packages(metadata.requires("ocs") or (), diagnosis.installed_version, needed)
    if diagnosis.installed_version("so3g"):
        yield diagnosis.check_recording()


def _router(args: argparse.Namespace, site: SiteConfig, host: HostConfig) -> Iterator[Finding]:
    bound = argparse.Namespace(**vars(args))
    site_config.add_site_attributes(bound, site, host)
    ours = host.crossbar is not None
    url, bridge, realm = bound.site_hub, bound.site_http, bound.site_realm
    yield from diagnosis.check_router(url, bridge, realm, ours=ours, timeout=args.timeout)
    yield from access_diagnosis.check_clock_of_router(bridge, time.time, args.timeout)
    keys = Path(bound.site_keys) if bound.site_keys else None
    yield from access_diagnosis.check_access(url, realm, closed=keys is not None, timeout=args.timeout)
    if keys is not None:
        instances = [one.instance_id for one in host.instances]
        yield from access_diagnosis.check_keys(keys, time.time(), site, host)
        yield from access_diagnosis.check_certificate(url, keys, args.timeout)
        yield from access_diagnosis.check_admission(url, realm, keys, instances, args.timeout)


def run(args: argparse.Namespace) -> int:
    """Carry out ``ocs doctor``; returns 1 if something has to be repaired."""
    findings = list(diagnose(args)) if args.json else list(_shown(diagnose(args)))
    if args.json:
        say_json([{**vars(finding), "level": finding.level.value} for finding in findings])
    else:
        _conclude(findings)
    return int(any(finding.level is Level.FAIL for finding in findings))


def _shown(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Print each finding as it comes, since some take seconds to find."""
    for finding in findings:
        say(f"{_MARKS[finding.level]:>4}  {finding.subject}: {finding.message}")
        if finding.advice:
            say(f"      -> {finding.advice}")
        yield finding


def _conclude(findings: Sequence[Finding]) -> None:
    count = {level: sum(finding.level is level for finding in findings) for level in Level}
    if count[Level.FAIL]:
        say(f"{count[Level.FAIL]} to repair, {count[Level.WARN]} to look at")
    else:
        say(f"nothing to repair, {count[Level.WARN]} to look at")


def main(args: Sequence[str] | None = None) -> int:
    """Run ``ocs doctor`` as a program of its own; returns the exit code."""
    parser = argparse.ArgumentParser(prog="ocs doctor", description=str(__doc__))
    parsed = add_arguments(parser).parse_args(args)
    return program(lambda: run(parsed))
