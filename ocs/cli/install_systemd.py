"""``ocs-install-systemd``: a unit that has systemd keep this host's HostManager, and the script that it runs."""

import argparse
import difflib
import errno
import os
import pwd
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ocs import site_config
from ocs.cli.hosts_model import MANAGER_CLASS
from ocs.cli.output import program, say
from ocs.cli.parsing import Parser, given_site_options
from ocs.cli.systemd_unit import Service, launcher_text, unit_text
from ocs.errors import OCSError

__all__ = ["main"]

SYSTEM_UNITS: Final = Path("/etc/systemd/system")

_DESCRIPTION = """\
Write a launcher script and a systemd unit, which start this host's HostManager at
boot and keep it running; it keeps all other agents. Files that are there already
and differ are shown and kept, unless --force is given.
"""

_EPILOG = """\
examples:
  sudo ocs-install-systemd --site-file /etc/ocs/site.yaml --service-user ocs
  ocs-install-systemd --user                  for one's own systemd; no root needed
  ocs-install-systemd --dry-run               only show both files
  ocs-install-systemd --output-dir .          write both here, for another machine
"""


class _File(NamedTuple):
    path: Path
    text: str
    mode: int


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ocs-install-systemd",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = parser.add_argument_group("the service")
    group.add_argument(
        "--docker-compose", metavar="FILES", help="compose files that the HostManager is to manage, separated by commas"
    )
    group.add_argument("--python-bin", metavar="FILE", help="the Python that runs it (default: the one that runs this)")
    group.add_argument("--shell", metavar="FILE", default="/bin/sh", help="runs the launcher script (default: /bin/sh)")
    group.add_argument("--service-user", metavar="NAME", help="who runs it (default: you, also under sudo)")
    group.add_argument(
        "--service-name", metavar="NAME", help="the unit's name (default: ocs-hostmanager, or with --service-host)"
    )
    group.add_argument("--service-host", metavar="HOST", help="makes the unit's name ocs-hostmanager-HOST")
    group.add_argument(
        "--env", metavar="NAME=VALUE", action="append", default=[], help="for its environment; may be given again"
    )
    where = parser.add_argument_group("where to")
    where.add_argument("--user", action="store_true", help="a unit of one's own systemd, which needs no root")
    where.add_argument("--service-dir", metavar="DIR", help=f"the folder of the unit (default: {SYSTEM_UNITS})")
    where.add_argument(
        "--launcher-dir", metavar="DIR", help="the folder of the script (default: OCS_CONFIG_DIR, or the site file's)"
    )
    where.add_argument("--launcher-script", metavar="NAME", help="the script's name (default: launcher-INSTANCE.sh)")
    where.add_argument("--output-dir", metavar="DIR", help="both --service-dir and --launcher-dir")
    where.add_argument("--dry-run", action="store_true", help="only print what would be written")
    where.add_argument("--force", action="store_true", help="replace files that differ")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit code."""
    words = list(sys.argv[1:] if args is None else args)
    return program(lambda: _main(words))


def _main(words: list[str]) -> int:
    args = site_config.parse_args(site_config.HOST, _make_parser(), words)
    place = _place(args)
    script, unit = _launcher_path(args, place), _unit_path(args)
    service = Service(
        host=place.host,
        command=_command(args, words, place),
        launcher=str(script),
        shell=_absolute_program(args.shell, "--shell"),
        working_dir=os.path.abspath(args.working_dir or Path(place.site_file).parent),  # noqa: PTH100 - keeps links
        user=None if args.user else _user(args.service_user),
        environment=_environment(args.env),
        for_user=args.user,
    )
    files = [_File(script, launcher_text(service), 0o755), _File(unit, unit_text(service), 0o644)]
    if args.dry_run:
        return _show(files)
    _refuse_to_replace(files, force=args.force)
    for file in files:
        _write(file)
    say(_next_steps(args, unit))
    return 0


# what


class _Place(NamedTuple):
    """Where the HostManager is described."""

    site_file: str
    host: str
    instance_id: str


def _place(args: argparse.Namespace) -> _Place:
    site, host, instance = site_config.get_config(args, MANAGER_CLASS)
    if site.source_file is None or host is None or instance is None:
        raise OCSError("a HostManager needs a site file: --site none cannot be used here")
    if instance.agent_class != MANAGER_CLASS:
        raise OCSError(f"{instance.instance_id} is of class {instance.agent_class}, not {MANAGER_CLASS}")
    return _Place(site.source_file, str(host.name), instance.instance_id)


def _command(args: argparse.Namespace, words: Sequence[str], place: _Place) -> tuple[str, ...]:
    python = _absolute_program(args.python_bin or sys.executable, "--python-bin")
    given = given_site_options(words, without=("site", "site_file", "site_host", "instance_id", "registry_address"))
    command = [python, "-m", "ocs.agent_cli", f"--instance-id={place.instance_id}"]
    command += [f"--site-file={place.site_file}", f"--site-host={place.host}", *given]
    if args.docker_compose:
        files = (os.path.abspath(name) for name in args.docker_compose.split(","))  # noqa: PTH100 - keeps links
        command.append(f"--docker-compose={','.join(files)}")
    return tuple(command)


def _absolute_program(name: str, option: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise OCSError(f"{option} {name}: there is no such program")
    return os.path.abspath(found)  # noqa: PTH100 - the link in a virtual environment is what makes it one


def _user(name: str | None) -> str:
    wanted = name or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    try:
        return pwd.getpwnam(wanted).pw_name
    except KeyError:
        raise OCSError(f"there is no user '{wanted}' on this machine: name one with --service-user") from None


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    inherited = {
        name: os.environ[name] for name in ("OCS_CONFIG_DIR", "OCS_STATE_DIR", "OCS_KEYS") if os.environ.get(name)
    }
    # What it prints is in the journal when it is printed, not when a buffer is full.
    return {"PYTHONUNBUFFERED": "1"} | inherited | dict(_pair(text) for text in pairs)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise OCSError(f"--env {text}: has to be NAME=VALUE")
    return name, value


# where


def _launcher_path(args: argparse.Namespace, place: _Place) -> Path:
    default = os.environ.get("OCS_CONFIG_DIR") or Path(place.site_file).parent
    folder = os.path.abspath(args.launcher_dir or args.output_dir or default)  # noqa: PTH100 - keeps links
    return Path(folder) / (args.launcher_script or f"launcher-{place.instance_id}.sh")


def _unit_path(args: argparse.Namespace) -> Path:
    default = Path.home() / ".config" / "systemd" / "user" if args.user else SYSTEM_UNITS
    return Path(args.service_dir or args.output_dir or default) / f"{_service_name(args)}.service"


def _service_name(args: argparse.Namespace) -> str:
    tail = f"-{args.service_host}" if args.service_host else ""
    name = str(args.service_name or f"ocs-hostmanager{tail}").removesuffix(".service")
    if not re.fullmatch(r"[A-Za-z0-9:_.@\\-]+", name):
        raise OCSError(f"{name!r} cannot be the name of a unit: letters, digits, and : - _ . @ can")
    return name


# writing


def _show(files: Sequence[_File]) -> int:
    for file in files:
        say(f"# {file.path}\n{file.text}")
    return 0


def _refuse_to_replace(files: Sequence[_File], *, force: bool) -> None:
    """Show files that are there and differ; raise unless they may be replaced."""
    differing = [(file, old) for file in files if (old := _read(file.path)) not in (None, file.text)]
    for file, old in differing:
        lines = difflib.unified_diff(
            str(old).splitlines(), file.text.splitlines(), str(file.path), "as it would be", lineterm=""
        )
        for line in lines:
            say(line)
    if differing and not force:
        names = " and ".join(str(file.path) for file, _ in differing)
        raise OCSError(f"{names} differ (see above), and nothing was written: replace them with --force")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OCSError(f"cannot read {path}: {error.strerror}") from error


def _write(file: _File) -> None:
    if _read(file.path) == file.text:
        say(f"{file.path} is up to date")
        return
    beside = file.path.with_name(f".{file.path.name}.{os.getpid()}")
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(file.text)
        beside.chmod(file.mode)
        beside.replace(file.path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        advice = (
            "run it with sudo, or see --user and --output-dir" if error.errno == errno.EACCES else "see --output-dir"
        )
        raise OCSError(f"cannot write {file.path}: {error.strerror}; {advice}") from error
    say(f"wrote {file.path}")


def _next_steps(args: argparse.Namespace, unit: Path) -> str:
    control = "systemctl --user" if args.user else "systemctl"
    journal = "journalctl --user" if args.user else "journalctl"
    place = Path.home() / ".config" / "systemd" / "user" if args.user else SYSTEM_UNITS
    steps = [] if unit.parent == place else [f"cp {shlex.quote(str(unit))} {place}/"]
    steps += [f"{control} daemon-reload", f"{control} enable --now {unit.name}"]
    if args.user:
        steps.append(f"loginctl enable-linger {pwd.getpwuid(os.getuid()).pw_name}   # to run without a login")
    steps += [f"{control} status {unit.name}", f"{journal} -fu {unit.name}"]
    return "\nnext:\n" + "\n".join(f"  {step}" for step in steps)
