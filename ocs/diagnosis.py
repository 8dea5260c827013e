"""What may be wrong with an installation and a site: one finding a fact, each with what to do about it.

Every check is given what it looks at and returns findings; it prints nothing and raises for nothing that it looks for.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from ocs.agent_classes import installed_classes
from ocs.errors import RouterError
from ocs.router import health
from ocs.router.config import LOOPBACK
from ocs.router.ports import require_port
from ocs.scf.model import HostConfig, InstanceConfig

__all__ = [
    "Finding",
    "Level",
    "check_clock",
    "check_clock_synchronised",
    "check_folders",
    "check_instances",
    "check_packages",
    "check_python",
    "check_recording",
    "check_router",
]

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 1_000_000_000
"""Free space under which a data folder gets a warning, in bytes: some hours of a busy site's recording."""

SANE_YEARS = range(2026, 2100)
"""Years that a clock may show; a machine that lost its clock's battery shows an earlier one."""

_REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?(?:>=([0-9.]+))?[^;]*(?:;.*extra == ['\"]([\w-]+)['\"])?")


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One fact.

    Attributes:
        subject: what was looked at: ``python``, ``router``, ...
        level: how bad it is.
        message: what was found, one line.
        advice: what to do about it, one line; empty where there is nothing to do.
    """

    subject: str
    level: Level
    message: str
    advice: str = ""


def check_python(version: tuple[int, ...], executable: str) -> Finding:
    """Judge the Python version, as (major, minor, ...)."""
    shown = f"Python {'.'.join(str(part) for part in version[:3])} ({executable})"
    if version[:2] >= OLDEST_PYTHON:
        return Finding("python", Level.OK, shown)
    return Finding("python", Level.FAIL, f"{shown} is too old", "install Python 3.11 or later, and ocs into it")


def check_packages(
    requirements: Iterable[str], installed: Callable[[str], str | None], needed: Mapping[str, str]
) -> Iterator[Finding]:
    """Compare what ocs needs with what is installed.

    Args:
        requirements: as ``importlib.metadata.requires`` gives them.
        installed: gives the version of a package, or None.
        needed: extras of ocs (such as ``router``) → what needs them here; a package of another extra may be absent.
    """
    for name, least, extra in _wanted(requirements):
        if extra in (None, "router", "keys", "hk"):
            yield _judge_package(name, least, extra, installed(name), needed)


def _wanted(requirements: Iterable[str]) -> Iterator[tuple[str, str, str | None]]:
    for text in requirements:
        match = _REQUIREMENT.match(text)
        if match:
            yield match[1], match[2] or "0", match[3]


def _judge_package(name: str, least: str, extra: str | None, version: str | None, needed: Mapping[str, str]) -> Finding:
    target = f"ocs[{extra}]" if extra else "ocs"
    advice = f"run `pip install --upgrade '{target}'`"
    if version is None:
        purpose = needed.get(extra) if extra else "everything"
        if purpose is None:
            return Finding(name, Level.OK, f"{name} is not installed; nothing needs it here")
        return Finding(name, Level.FAIL, f"{name} is not installed, and {purpose} needs it", advice)
    if _numbers(version) < _numbers(least):
        return Finding(name, Level.FAIL, f"{name} {version} is older than {least}", advice)
    return Finding(name, Level.OK, f"{name} {version}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def installed_version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_recording(python: str = sys.executable, timeout: float = 60.0) -> Finding:
    """See whether the recording library loads; in a process of its own, for it is large and may crash.

    Args:
        python: the interpreter.
        timeout: in seconds.
    """
    program = "import so3g; from spt3g import core; print('ok')"
    try:
        run = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return Finding("spt3g", Level.WARN, f"so3g and spt3g did not load within {timeout:g} s", "is the disk slow?")
    if run.returncode == 0:
        return Finding("spt3g", Level.OK, "so3g and spt3g load")
    reason = run.stderr.strip().rpartition("\n")[2] or f"exit code {run.returncode}"
    return Finding(
        "spt3g", Level.FAIL, f"so3g and spt3g do not load: {reason}", "run `pip install --upgrade 'ocs[hk]'`"
    )


def check_clock(now: float, newest_file: float | None) -> Finding:
    """Judge the wall clock.

    Args:
        now: unix seconds.
        newest_file: when the site file was written, in unix seconds: it cannot have been later than now.
    """
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    advice = "set the clock, best by running chrony or systemd-timesyncd: all recorded times depend on it"
    if time.gmtime(now).tm_year not in SANE_YEARS:
        return Finding("clock", Level.FAIL, f"the clock shows {shown}", advice)
    if newest_file is not None and newest_file > now + 60:
        late = f"the clock shows {shown}, but the site file was written {newest_file - now:.0f} s after that"
        return Finding("clock", Level.WARN, late, advice)
    return Finding("clock", Level.OK, shown)


def check_clock_synchronised(ask: Callable[[Sequence[str]], str | None]) -> Finding:
    """Tell whether the clock follows a time server, where a program here can tell.

    Args:
        ask: runs a command and returns what it prints, or None where that fails.
    """
    answers = {
        "timedatectl": _timedatectl(ask(("timedatectl", "show", "-p", "NTPSynchronized", "--value"))),
        "chronyc": _chrony(ask(("chronyc", "-c", "tracking"))),
    }
    for source, synchronised in answers.items():
        if synchronised:
            return Finding("time server", Level.OK, f"the clock is synchronised ({source})")
    if False in answers.values():
        return Finding(
            "time server",
            Level.WARN,
            "the clock is not synchronised with a time server",
            "enable one, for instance with `timedatectl set-ntp true`; clocks of several machines drift apart",
        )
    return Finding("time server", Level.UNKNOWN, "whether the clock is synchronised cannot be told here")


def _timedatectl(answer: str | None) -> bool | None:
    return {"yes": True, "no": False}.get((answer or "").strip())


def _chrony(answer: str | None) -> bool | None:
    fields = (answer or "").strip().split(",")
    return fields[-1] == "Normal" if len(fields) > 1 else None


def ask_program(command: Sequence[str]) -> str | None:
    """Run a command and return what it prints; None if it is not there, fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout if run.returncode == 0 else None


def check_instances(host: HostConfig) -> Iterator[Finding]:
    """See whether each instance's class is one that the installed plugins offer."""
    complaints: list[str] = []
    known = installed_classes(complaints.append)
    for complaint in complaints:
        yield Finding("plugins", Level.WARN, complaint, "repair or remove the package that it comes from")
    unknown = [one for one in host.instances if one.agent_class not in known and one.manage.startswith("host")]
    for one in unknown:
        yield Finding(
            "instances",
            Level.FAIL,
            f"{one.instance_id}: no installed plugin has the agent class {one.agent_class}",
            f"install the package that has it, or correct it in the site file; known: {', '.join(sorted(known))}",
        )
    if not unknown:
        yield Finding("instances", Level.OK, f"{len(host.instances)} on host {host.name}, of known classes")


def check_folders(host: HostConfig, base: Path) -> Iterator[Finding]:
    """See whether logs, recorded data and agents' state can be written; relative folders are meant from ``base``."""
    if host.log_dir:
        yield _check_folder("log folder", base / host.log_dir)
    if host.state_dir:
        yield _check_folder("state folder", base / host.state_dir)
    for one in host.instances:
        folder = data_folder(one)
        if folder is not None and one.manage.startswith("host"):
            yield _check_folder(f"data folder of {one.instance_id}", base / folder)


def data_folder(instance: InstanceConfig) -> str | None:
    """Return where an instance records to, or None if it does not."""
    if instance.agent_class != "AggregatorAgent":
        return None
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data-dir", default=None)
    folder = parser.parse_known_args(instance.arguments)[0].data_dir
    return str(folder) if folder else None


def _check_folder(subject: str, folder: Path) -> Finding:
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    if there == folder and not folder.is_dir():
        return Finding(subject, Level.FAIL, f"{folder} is not a folder", "remove it, or name another")
    if not os.access(there, os.W_OK | os.X_OK):
        deed = "written to" if there == folder else f"made: {there} is closed to you"
        advice = f"give the user of the agents the right to it, for instance `chown USER {there}`"
        return Finding(subject, Level.FAIL, f"{folder} cannot be {deed}", advice)
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE_BYTES:
        return Finding(subject, Level.WARN, f"{folder} has {free / 1e6:.0f} MB left", "make room")
    made = "" if there == folder else ", will be made"
    return Finding(subject, Level.OK, f"{folder} ({free / 1e9:.0f} GB free{made})")


def check_router(ws_url: str, http_url: str, realm: str, *, ours: bool, timeout: float = 5.0) -> Iterator[Finding]:
    """See whether the router answers, or could be started.

    Args:
        ws_url: the hub's ``wamp_server``.
        http_url: the hub's ``wamp_http``.
        realm: the hub's ``wamp_realm``.
        ours: whether the router is to be started on this host.
        timeout: for each question, in seconds.
    """
    answer = health.check(ws_url, realm, timeout)
    if answer.ok:
        yield Finding("router", Level.OK, answer.message)
        yield _check_bridge(http_url, timeout)
    elif answer.stage != "tcp":
        yield Finding("router", Level.FAIL, answer.message, "stop what is there, or change hub in the site file")
    elif ours and urlsplit(ws_url).hostname in LOOPBACK:
        yield _check_port(ws_url)
    else:
        yield Finding(
            "router", Level.FAIL, f"no router answers at {ws_url}", "start it, or correct hub in the site file"
        )


def _check_port(ws_url: str) -> Finding:
    port = urlsplit(ws_url).port or 80
    try:
        require_port("127.0.0.1", port)
    except RouterError as error:
        return Finding("router", Level.FAIL, str(error), "see above")
    return Finding("router", Level.OK, f"not running; its port {port} is free, so that `ocs up` can start it")


def _check_bridge(http_url: str, timeout: float) -> Finding:
    status = health.answers_http(http_url, timeout)
    if status == 405:  # noqa: PLR2004 - "method not allowed": it takes POST only
        return Finding("HTTP bridge", Level.OK, f"answers at {http_url}")
    found = "nothing" if status is None else f"HTTP status {status}"
    advice = "compare wamp_http in the site file with the router's configuration"
    return Finding("HTTP bridge", Level.FAIL, f"{found} at {http_url}; clients cannot call", advice)
