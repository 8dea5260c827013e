"""``ocs keys``: who may connect to a closed site, and the keys and certificates for it."""

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ocs import site_config
from ocs.cli.output import say, say_json, table, warn
from ocs.cli.parsing import seconds
from ocs.errors import KeysError, SiteConfigError
from ocs.keys.certificates import Certificate
from ocs.keys.checking import ERROR, check_folder, shown_time
from ocs.keys.finding import CLIENT, find_keys
from ocs.keys.making import DAY, Given, Made, add, make_site, revoke, rotate
from ocs.keys.site import identities_of, keys_folder_of, router_names
from ocs.keys.table import OWN_ADDRESS_ROLES, ROLES, TABLE_FILE, Identity, PublicKey, SiteTable
from ocs.scf.model import SiteConfig

__all__ = ["add_arguments", "run"]

_INIT = """\
Make what a closed site needs: a key for each instance of the site file, one for
people's programs (client) and one for those that only look on (observer), and the
certificate of the router. What is there stays; run it again after a change of the
site file, and it adds what is missing. It tells what to do next.
"""

_ADD = """\
Make a key for somebody who is not in the site file: a person, a program, an agent
that is started by hand.

  ocs keys add alice --role client
  ocs keys add wall-display --role observer
  ocs keys add test-1 --role agent
"""

_TOKENS = """\
Print a token for the HTTP bridge, for programs that are not ours:

  curl --cacert keys/ca.crt -H "Authorization: Bearer $(ocs keys token)" \\
       -d '{"procedure": "observatory.fake-1", "args": ["get_api"]}' https://...
"""

_HOUR: Final = 3600.0
_TOKEN_SECONDS: Final = 300.0
_SHOWN_DIGITS: Final = 8

_Run = Callable[[argparse.Namespace], int]


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the commands of ``ocs keys``."""
    commands = parser.add_subparsers(dest="topic", metavar="COMMAND", required=True)
    _add_init(commands)
    _command(commands, "list", "who may connect, and with which keys", _list)
    _add_add(commands)
    rotating = _command(
        commands, "rotate", "make a new key; the one before is good for a while yet", _rotate, named=True
    )
    rotating.add_argument(
        "--grace", metavar="HOURS", type=_hours, default=DAY / _HOUR, help="how long it is, in hours (%(default)g)"
    )
    _command(commands, "revoke", "let somebody connect no more, and close his connections", _revoke, named=True)
    _command(commands, "check", "what is wrong with a keys folder; exit code 1 if something will not work", _check)
    _add_token(commands)
    return parser


def run(args: argparse.Namespace) -> int:
    """Carry out the command; returns the exit code.

    Raises:
        OCSError: the site file or a key is missing or has a mistake in it, or a file cannot be written.
    """
    carry_out: _Run = args.carry_out
    return carry_out(args)


def _command(
    commands: Any, name: str, summary: str, carry_out: _Run, description: str = "", *, named: bool = False
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if named:
        command.add_argument("name", metavar="NAME", help="as in `ocs keys list`")
    command.add_argument(
        "--keys",
        metavar="FOLDER",
        help="the keys folder ($OCS_KEYS, what the site file names, or keys beside that file)",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(carry_out=carry_out)
    site_config.add_arguments(command)
    return command


def _add_init(commands: Any) -> None:
    command = _command(commands, "init", "make the keys of a site, or those that are missing", _init, _INIT)
    add_argument = command.add_argument
    add_argument("--name", metavar="HOST", action="append", default=[], help="a further name or address of the router")
    add_argument("--cert", metavar="FILE", type=Path, help="the router's certificate (PEM), if it is not to be made")
    add_argument("--cert-key", metavar="FILE", type=Path, help="its private key (PEM)")
    add_argument("--ca", metavar="FILE", type=Path, help="of whom programs take it, unless their systems know that one")


def _add_add(commands: Any) -> None:
    command = _command(commands, "add", "make a key for somebody who is not in the site file", _add, _ADD, named=True)
    command.add_argument("--role", choices=ROLES, required=True, help="what it may do")
    command.add_argument(
        "--instances",
        metavar="ID",
        nargs="+",
        help="an agent's or director's instance-ids (NAME); ID* is all that begin so",
    )


def _add_token(commands: Any) -> None:
    command = _command(commands, "token", "print a token for the HTTP bridge", _token, _TOKENS)
    command.add_argument("--name", metavar="NAME", default=CLIENT, help="whose key signs it (%(default)s)")
    command.add_argument(
        "--for",
        metavar="SECONDS",
        dest="span",
        type=seconds,
        default=_TOKEN_SECONDS,
        help="how long it holds (%(default)g; an hour at most)",
    )


def _hours(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 24 * 366:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of hours, from 0 to a year")
    return value


def _site(args: argparse.Namespace) -> site_config.SiteContext:
    return site_config.get_config(args, site_config.CONTROL)


def _named_folder(args: argparse.Namespace) -> Path | None:
    named = args.keys or getattr(args, "site_keys", None) or os.environ.get("OCS_KEYS")
    return Path(named).expanduser() if named else None


def _folder(args: argparse.Namespace) -> Path:
    named = _named_folder(args)
    if named is not None:
        return named
    context = _site(args)
    return keys_folder_of(context.site, context.host)


def _init(args: argparse.Namespace) -> int:
    context = _site(args)
    folder = _named_folder(args) or keys_folder_of(context.site, context.host)
    first = not (folder / TABLE_FILE).exists()
    names = [*router_names(context.site), *args.name]
    made = make_site(folder, identities_of(context.site), names, time.time(), _given(args))
    later = _next(folder, context.site) if first else list(_changes(made))
    if args.json:
        say_json({**_as_json(folder, made), "next": later})
    else:
        say(f"made {_count(made.names)} in {folder}: {', '.join(made.names) or 'none is missing'}")
        for line in later:
            say(line)
    for line in made.differing:
        warn(line)
    return int(bool(made.differing))


def _given(args: argparse.Namespace) -> Given | None:
    if not (args.cert or args.cert_key or args.ca):
        return None
    if not (args.cert and args.cert_key):
        raise KeysError("a given certificate needs both --cert FILE and --cert-key FILE")
    return Given(args.cert, args.cert_key, args.ca)


def _count(names: tuple[str, ...]) -> str:
    return f"{len(names)} key{'' if len(names) == 1 else 's'}"


def _as_json(folder: Path, made: Made) -> dict[str, Any]:
    certificate = Certificate.read(folder)
    return {
        "folder": str(folder),
        "made": list(made.names),
        "kept": list(made.kept),
        "widened": list(made.widened),
        "differing": list(made.differing),
        "new_certificate": made.certificate,
        "certificate_until": certificate.until if certificate else None,
    }


def _next(folder: Path, site: SiteConfig) -> list[str]:
    """Tell how an open site becomes a closed one."""
    hub, private = site.hub, folder / "private"
    urls = [_with_tls(key, getattr(hub, key) or "") for key in ("wamp_server", "wamp_http")]
    return [
        "next:",
        f"  1. in the site file, under hub:   keys: {_from_site(folder, site)}   {'   '.join(urls)}".rstrip(),
        f"  2. copy to each machine: {folder / 'ca.crt'}, from {private} its instances' keys (client.key for people)",
        "  3. restart the router, then all agents; programs started after that find their keys by the site file",
        "  4. `ocs keys check` on each machine tells what is still wrong",
        "  5. keep copies few: who has a private key connects in that name; who has ca.key can pose as the router",
    ]


def _with_tls(key: str, url: str) -> str:
    scheme, found, rest = url.partition("://")
    return f"{key}: {({'ws': 'wss', 'http': 'https'}).get(scheme, scheme)}://{rest}" if found else ""


def _from_site(folder: Path, site: SiteConfig) -> str:
    """Return the folder as a site file names it."""
    whole = folder.absolute()
    base = Path(site.source_file).parent if site.source_file else None
    return str(whole.relative_to(base)) if base and whole.is_relative_to(base) else str(whole)


def _changes(made: Made) -> Iterator[str]:
    if made.names:
        yield "copy each to the machine that needs it; the router takes note of them by itself"
    if made.widened:
        yield f"these may use further addresses now: {', '.join(made.widened)}"
    if made.certificate:
        yield "the router has a new certificate: restart it"


def _list(args: argparse.Namespace) -> int:
    now, identities = time.time(), SiteTable.read(_folder(args)).identities
    if args.json:
        say_json({name: _identity_as_json(each, now) for name, each in identities.items()})
        return 0
    rows = [
        (each.name, each.role, " ".join(each.instances), ", ".join(_shown(key, now) for key in each.keys))
        for _, each in sorted(identities.items())
    ]
    table(("name", "role", "instances", "keys"), rows)
    return 0


def _identity_as_json(identity: Identity, now: float) -> dict[str, Any]:
    keys = [{"public": key.public, "until": key.until, "holds": key.holds(now)} for key in identity.keys]
    return {"role": identity.role, "instances": list(identity.instances), "keys": keys, "made": identity.made}


def _shown(key: PublicKey, now: float) -> str:
    begin = key.public[:_SHOWN_DIGITS]
    if key.until is None:
        return begin
    return f"{begin} {'until' if key.holds(now) else 'ended'} {shown_time(key.until)}"


def _add(args: argparse.Namespace) -> int:
    own = [args.name] if args.role in OWN_ADDRESS_ROLES else []
    path = add(_folder(args), Identity(args.name, args.role, tuple(args.instances or own)), time.time())
    _tell(args, f"{args.name} may connect as {args.role}, with {path}: copy it to where it is used", key=str(path))
    return 0


def _rotate(args: argparse.Namespace) -> int:
    now = time.time()
    end = now + args.grace * _HOUR
    path = rotate(_folder(args), args.name, now, args.grace * _HOUR)
    before = f"the one before is good until {shown_time(end)}"
    _tell(args, f"{args.name} has a new key, {path}: copy it to where it is used; {before}", key=str(path), until=end)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    was = revoke(_folder(args), args.name)
    _tell(args, f"{was.name} ({was.role}) may connect no more; the router closes its connections now", role=was.role)
    return 0


def _tell(args: argparse.Namespace, text: str, **values: Any) -> None:
    if args.json:
        say_json({"name": args.name, **values})
    else:
        say(text)


def _check(args: argparse.Namespace) -> int:
    named = _named_folder(args)
    try:
        context = _site(args)
    except SiteConfigError:
        if named is None:
            raise
        context = site_config.SiteContext(SiteConfig(), None, None)
    folder = named or keys_folder_of(context.site, context.host)
    found = check_folder(folder, time.time(), context.site if context.site.hosts else None, context.host)
    bad = any(each.level == ERROR for each in found)
    if args.json:
        problems = [{"level": each.level, "message": each.message} for each in found]
        say_json({"ok": not bad, "folder": str(folder), "problems": problems})
    else:
        for each in found:
            say(f"{each.level}: {each.message}")
        if not found:
            say(f"{folder}: nothing wrong")
    return int(bad)


def _token(args: argparse.Namespace) -> int:
    realm = args.site_realm or _site(args).site.hub.wamp_realm
    if not realm:
        raise KeysError("a token is for a realm: give --site-realm REALM")
    file = getattr(args, "key_file", None)
    key = find_keys(_folder_of_token(args), [args.name], file).key
    if key is None:
        raise KeysError(f"no key of {args.name}: give --keys FOLDER")
    now = time.time()
    token = key.token(realm, now, args.span)
    if args.json:
        say_json({"token": token, "name": key.name, "realm": realm, "until": int(now) + int(args.span)})
    else:
        say(token)
    return 0


def _folder_of_token(args: argparse.Namespace) -> Path | None:
    """Return the keys folder; None where the key itself is named."""
    own = getattr(args, "key_file", None) or os.environ.get("OCS_KEY_FILE")
    return _named_folder(args) if own else _folder(args)
