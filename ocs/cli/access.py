"""``ocs access``: passwords, the access director's file, and exclusive access."""

import argparse
import getpass
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ocs import site_config
from ocs.access.advice import director_weaknesses
from ocs.access.client import ExclusiveAccessClient
from ocs.access.director import director_check_config, director_stored_passwords
from ocs.access.passwords import DEFAULT_HASH, HashedPass
from ocs.access.slow_hashes import SLOW_HASHES
from ocs.agents.access_director.config_file import may_be_read_by_others, read_yaml
from ocs.cli.output import Line, Span, fail, say, say_json, say_lines, table, warn
from ocs.cli.readable import count, duration, printable, when
from ocs.errors import AccessError
from ocs.ocs_client import OCSClient
from ocs.scf.model import SiteConfig

__all__ = ["add_arguments", "run"]

_HASH: Final = """\
Hash a password, for the access director's file and for nobody to read. It is asked
for without being shown, or read from standard input:

  ocs access hash
  ocs access hash --beside access-director.yaml < password.txt

With --beside it gets the salt that the passwords of a file have: agents that hold
many of them then hash what they are given once.
"""

_CHECK: Final = """\
Say what is wrong and what is weak in the access director's file. The exit code is 1
if it cannot be used, with --strict also if something is weak.
"""

_ACQUIRE: Final = """\
Acquire an exclusive grant. The password that agents take while it lasts is all that
is printed on standard output. What the grant itself asks for is asked for without
being shown, or read from standard input:

  password=$(ocs access acquire telescope --for 2h)
  ocs-client-cli ...
  ocs access release telescope
"""

DIRECTOR_CLASS: Final = "AccessDirector"
DEFAULT_DIRECTOR: Final = "access-director"
DEFAULT_FILE: Final = "access-director.yaml"
_UNITS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_Run = Callable[[argparse.Namespace], int]


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the commands of ``ocs access``."""
    commands = parser.add_subparsers(dest="topic", metavar="COMMAND", required=True)
    hashing = _command(commands, "hash", "hash a password for the access director's file", _hash, _HASH)
    hashing.add_argument("--hash", choices=[*SLOW_HASHES, "md5"], default=DEFAULT_HASH, help="how (%(default)s)")
    hashing.add_argument("--beside", metavar="FILE", type=Path, help="take the salt of this file's passwords")
    checking = _command(
        commands, "check", "what is wrong and what is weak in the access director's file", _check, _CHECK
    )
    checking.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the file; the site's unless given")
    checking.add_argument("--strict", action="store_true", help="exit with 1 if something is weak, too")
    _director(_command(commands, "grants", "the grants that are held", _grants))
    for name, summary, text in (
        ("acquire", "acquire an exclusive grant", _ACQUIRE),
        ("renew", "hold a grant for longer", ""),
        ("release", "give a grant back", ""),
    ):
        _add_request(_command(commands, name, summary, _request, text), name)
    return parser


def run(args: argparse.Namespace) -> int:
    """Carry out the command; returns the exit code.

    Raises:
        OCSError: the file has a mistake in it, or the director is not there, or refuses.
    """
    carry_out: _Run = args.carry_out
    return carry_out(args)


def _command(commands: Any, name: str, summary: str, carry_out: _Run, description: str = "") -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(carry_out=carry_out)
    site_config.add_arguments(command)
    return command


def _director(command: argparse.ArgumentParser) -> None:
    command.add_argument("--director", metavar="ID", help="the director's instance-id (that of the site)")


def _add_request(command: argparse.ArgumentParser, action: str) -> None:
    command.add_argument("grant", metavar="GRANT", help="its name in the access director's file")
    command.add_argument("--as", dest="grantee", metavar="NAME", help="who holds it (the user of this machine)")
    if action != "release":
        command.add_argument(
            "--for",
            dest="span",
            metavar="TIME",
            type=_time,
            default=600.0,
            help="how long, as in 90s, 10min, 2h (10min)",
        )
    _director(command)


def _time(word: str) -> float:
    number = word.rstrip("abcdefghijklmnopqrstuvwxyz").strip()
    unit = word[len(number) :].strip() or "s"
    try:
        span = float(number) * _UNITS[unit]
    except (KeyError, ValueError):
        span = math.nan
    if not 0 < span < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is no length of time, as 90s, 10min, 2h, 1d")
    return span


# Passwords and the file


def _hash(args: argparse.Namespace) -> int:
    salt = _salt_of(args.beside) if args.beside else None
    made = HashedPass.create_from_value(args.hash, _ask("Password", twice=True), salt)
    if args.json:
        say_json(made.to_dict())
    else:
        say(f"{{hash: {made.hash}, value: {made.value!r}}}")
    return 0


def _salt_of(path: Path) -> bytes | None:
    config, _ = director_check_config(read_yaml(path))
    return next((each.salt for each in director_stored_passwords(config) if each.salt), None)


def _ask(what: str, *, twice: bool = False) -> str:
    """Read a password: from a person without showing it, else a line of standard input."""
    if not sys.stdin.isatty():
        given = sys.stdin.readline().rstrip("\r\n")
    else:
        given = getpass.getpass(f"{what}: ")
        if twice and getpass.getpass("Once more: ") != given:
            fail("the two are not the same")
    if twice and not given:
        fail("an empty password lets everybody in; give one")
    return given


def _check(args: argparse.Namespace) -> int:
    path = args.file or _file_of(args)
    config, oddities = director_check_config(read_yaml(path))
    weak = [*oddities, *director_weaknesses(config)]
    if may_be_read_by_others(path):
        weak.append(f"{path} can be read by everybody on this host; chmod 600 it")
    bad = bool(weak) and args.strict
    if args.json:
        say_json({"ok": not bad, "file": str(path), "weak": weak})
    else:
        rules = sum(len(item.passwords()) for item in config.passwords)
        grants = count(len(config.exclusive_access_blocks), "grant")
        lines: list[Line] = [[Span("WEAK  ", "bold yellow"), Span(printable(line))] for line in weak]
        say_lines(
            [*lines, [Span(f"{path}: {count(rules, 'rule')}, {grants}, {count(len(weak), 'weak place')}", "dim")]]
        )
    return int(bad)


def _site(args: argparse.Namespace) -> SiteConfig:
    """Read the site file, and have the arguments say what it says."""
    config, host, _ = site_config.get_config(args, site_config.CONTROL)
    site_config.add_site_attributes(args, config, host)
    return config


def _file_of(args: argparse.Namespace) -> Path:
    """Return the file of the site's director, as its arguments name it."""
    config = _site(args)
    folder = Path(site_config.site_file_of(args)).resolve().parent
    for host in config.hosts.values():
        for one in host.instances:
            if one.agent_class == DIRECTOR_CLASS:
                words = [word for given in one.arguments for word in given.split("=", 1)]
                named = words[words.index("--config-file") + 1 :] if "--config-file" in words else []
                return folder / (named[0] if named else DEFAULT_FILE)
    raise AccessError(f"there is no {DIRECTOR_CLASS} in the site config file; give the FILE to be checked")


# Grants


def _director_of(args: argparse.Namespace) -> str:
    config = _site(args)
    if args.director:
        return str(args.director)
    name, _, given = (config.hub.access_policy or "").partition(":")
    if name == "director":
        return given.strip() or DEFAULT_DIRECTOR
    found = [
        one.instance_id for host in config.hosts.values() for one in host.instances if one.agent_class == DIRECTOR_CLASS
    ]
    if len(found) == 1:
        return found[0]
    raise AccessError(
        f"give --director, one of {', '.join(found)}" if found else "this site has no access director; give --director"
    )


def _grants(args: argparse.Namespace) -> int:
    session: Mapping[str, Any] = OCSClient(_director_of(args), args=args).manager.status().session or {}
    held = (session.get("data") or {}).get("grants") or []
    if session.get("status") != "running":
        warn("the director's process manager does not run: rules are not told")
    if args.json:
        say_json(held)
    elif not held:
        say("No grant is held.")
    else:
        now = time.time()
        rows = [
            (printable(str(one["name"])), printable(str(one["grantee"] or "nobody named")), when(one["expire_at"]),
             duration(one["expire_at"] - now))
            for one in held
        ]  # fmt: skip
        table(["grant", "held by", "until (UTC)", "for another"], rows)
    return 0


def _request(args: argparse.Namespace) -> int:
    director = _director_of(args)
    client = ExclusiveAccessClient(
        director,
        args.grantee or _user(),
        args.grant,
        _ask(f"Password of grant {args.grant}"),
        client=site_config.get_control_client(director, args=args),
    )
    until = {} if args.topic == "release" else {"expire_at": time.time() + args.span}
    granted, answer = getattr(client, args.topic)(**until)
    if args.json:
        say_json(answer)
        return int(not granted)
    if not granted:
        raise AccessError(str(answer["error"]))
    end = f" until {when(answer['expire_at'])} UTC" if "expire_at" in answer else ""
    warn(f"{answer['message']}: {answer['grant_name']}{end}")
    if client.password and args.topic == "acquire":
        say(client.password)
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in containers
        return ""
