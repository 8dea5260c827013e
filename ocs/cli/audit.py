"""``ocs audit``: what was asked of the site's agents: by whom, from where, with what, and what became of it."""

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ocs import site_config
from ocs.audit.reading import Follower, Wanted, audit_files, read_records
from ocs.audit.record import AuditRecord
from ocs.cli.output import say, say_json, table, warn
from ocs.cli.parsing import seconds
from ocs.cli.readable import count, printable, when
from ocs.errors import AuditError

__all__ = ["add_arguments", "follow", "places_of", "run"]

_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(s|m|min|h|d|w)", re.ASCII)
_UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

_STATE_OF_UP: Final = "state"
"""Where `ocs up` has its agents keep their state: beside the site file that it writes."""
_LINES: Final = 200
_LOOK_EVERY: Final = 0.5
"""Time between two looks for what is new, in s."""
_WIDE: Final = 70
"""Characters of parameters, and of a result, that are shown in a table."""

DESCRIPTION = """\
Show what was asked of agents: who asked to start, stop or abort what, from where,
with which parameters (without secrets), and what became of it; by time, over all
agents that write on this machine.
"""

EPILOG = """\
examples:
  ocs audit                                 the last 200
  ocs audit --since 1h --refused            what was refused or has failed in the last hour
  ocs audit --who ann --agent 'acu*' -n 0   all that ann has asked of the antenna control
  ocs audit -f                              what comes, until Ctrl-C
  ocs audit /var/log/ocs --json             of a folder, or of single files

Who: the name of a key where the site has keys, else the level that a password gave,
else `anonymous`. What was started and has ended is told by the action `end`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ocs audit` takes."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("places", nargs="*", type=Path, metavar="FILE", help="audit files, or folders of such")
    parser.add_argument("--since", type=_moment, metavar="TIME", help="from then on: 1h, 2d, or 2026-01-31T12:00 (UTC)")
    parser.add_argument("--who", default="", metavar="NAME", help="of whom; may be a pattern, as all that follow")
    parser.add_argument("--agent", default="", metavar="ID", help="of which instance-id")
    parser.add_argument("--op", default="", metavar="NAME", help="of which operation")
    parser.add_argument("--action", default="", metavar="WORD", help="start, stop, abort, end; acquire, renew, release")
    parser.add_argument("--refused", action="store_true", help="only what was refused or has failed")
    parser.add_argument(
        "-n", "--lines", type=_lines, default=_LINES, metavar="N", help=f"the last N ({_LINES}); 0: all"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print JSON; with -f, an object a line")
    parser.add_argument("--interval", type=seconds, default=_LOOK_EVERY, metavar="S", help=argparse.SUPPRESS)
    site_config.add_arguments(parser)


def _moment(word: str) -> float:
    found = _SPAN.fullmatch(word)
    if found:
        return time.time() - float(found[1]) * _UNITS[found[2]]
    try:
        moment = datetime.fromisoformat(word)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError(f"{word!r} is no time: say 30min, 1h or 2d, or 2026-01-31T12:00 (UTC)")


def _lines(word: str) -> int:
    if word.isascii() and word.isdigit() and len(word) < 10:  # noqa: PLR2004 - more than there will ever be
        return int(word)
    raise argparse.ArgumentTypeError(f"{word!r} is no number of lines")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; returns the exit code.

    Raises:
        OCSError: there is no audit, or it cannot be read.
    """
    since = float("-inf") if args.since is None else args.since
    wanted = Wanted(since, args.who, args.agent, args.op, args.action, args.refused)
    find = _finder(args)
    return _follow(args, find, wanted) if args.follow else _show(args, find(), wanted)


def _finder(args: argparse.Namespace) -> Callable[[], list[Path]]:
    """Return what finds the audit files."""
    if args.places:
        return lambda: audit_files(args.places)
    given = [Path(args.working_dir or ".", args.log_dir).expanduser()] if args.log_dir else []
    config, host, _ = site_config.get_config(args, site_config.CONTROL)
    site_config.add_site_attributes(args, config, host)
    places = given + places_of(args, config)

    def find() -> list[Path]:
        found = audit_files([place for place in places if place.is_dir()])
        return [path for path in found if path.name.startswith(f"{args.address_root}.")]

    if not find() and not args.follow:
        looked = ", ".join(map(str, places)) or "no folder: the site file names none"
        raise AuditError(f"no agent of this site has written an audit on this machine; looked in {looked}")
    return find


def places_of(args: argparse.Namespace, config: site_config.SiteConfig) -> list[Path]:
    """Return the folders in which a site's agents may have written audits, there or not.

    Args:
        args: with the site's attributes.
        config: the site's configuration.
    """
    logs = [(host.working_dir, host.log_dir) for host in config.hosts.values()]
    states = [(host.working_dir, host.state_dir) for host in config.hosts.values()]
    states.append((".", os.environ.get("OCS_STATE_DIR")))
    if config.source_file and (up := Path(config.source_file).parent / _STATE_OF_UP / args.site_realm).is_dir():
        states.append((".", str(up.parent)))
    else:
        states.append((".", args.state_dir))
    here = args.working_dir

    def whole(base: str, folder: str) -> Path:
        return Path(here or base).expanduser() / Path(folder).expanduser()

    found = [whole(base, folder) for base, folder in logs if folder]
    found += [whole(base, folder) / args.site_realm for base, folder in states if folder]
    return list(dict.fromkeys(found))


def _show(args: argparse.Namespace, paths: Sequence[Path], wanted: Wanted) -> int:
    records, broken = read_records(paths, wanted, args.lines)
    if args.json:
        say_json([record.encoded() for record in records])
    elif records:
        table(["time (UTC)", "agent", "who", "from", "action", "what", "parameters", "result"], map(_cells, records))
    else:
        say("nothing that was asked for is in the audit")
    if broken:
        warn(f"{count(broken, 'line')} could not be read: cut off when a disk was full or an agent was killed")
    return 0


def _follow(args: argparse.Namespace, find: Callable[[], list[Path]], wanted: Wanted) -> int:
    try:
        for record in follow(find, wanted, args.lines, args.interval):
            say(json.dumps(record.encoded()) if args.json else "  ".join(filter(None, _cells(record))))
    except KeyboardInterrupt:
        pass  # that is how following ends
    return 0


def follow(
    find: Callable[[], list[Path]],
    wanted: Wanted,
    lines: int,
    interval: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[AuditRecord]:
    """Yield the last records that there are, then those that come, for ever; also of agents that begin later.

    Args:
        find: finds the files.
        wanted: which records.
        lines: how many of those that there are; 0 for all.
        interval: time between two looks, in s.
        sleep: waits for so many seconds.

    Raises:
        AuditError: a file cannot be read.
    """
    follower = Follower(find(), wanted)
    try:
        yield from _sorted(follower)[-lines:]
        while True:
            sleep(interval)
            follower.add(find())
            yield from _sorted(follower)
    finally:
        follower.close()


def _sorted(follower: Follower) -> list[AuditRecord]:
    return sorted(follower.read(), key=lambda record: record.time)


def _cells(record: AuditRecord) -> list[str]:
    return [
        when(record.time, 3),
        printable(record.instance),
        printable(f"{record.who} ({record.role})" if record.role else record.who),
        printable(_place(record)),
        printable(record.action),
        printable(record.op),
        printable("" if record.params is None else json.dumps(record.params, ensure_ascii=False), _WIDE),
        printable(_result(record), _WIDE if record.code == 0 else 2 * _WIDE),
    ]


def _place(record: AuditRecord) -> str:
    if record.peer:
        kind, colon, address = record.peer.partition(":")
        return address if colon and kind.startswith(("tcp", "tls")) else record.peer
    return "" if record.wamp_session is None else f"session {record.wamp_session}"


def _result(record: AuditRecord) -> str:
    if record.action == "end":
        return record.message.lower()
    return "ok" if record.code == 0 else f"refused: {record.message}"
