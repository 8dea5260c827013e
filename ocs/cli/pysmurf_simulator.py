"""``ocs-pysmurf-simulator``: plays the publisher of a SMuRF server, for those who have none."""

import argparse
import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final

from ocs.agents.pysmurf_monitor.simulation import Message, Plan, day, steady, until
from ocs.agents.pysmurf_monitor.simulator import Publisher, Sender, Tally
from ocs.cli.output import program, say, say_json, warn
from ocs.cli.parsing import Parser, seconds
from ocs.cli.progress import progress_bar
from ocs.cli.readable import count, duration

__all__ = ["main"]

DESCRIPTION = """\
Play the publisher of a SMuRF server: write files as pysmurf and its streamer do,
and announce each in a UDP datagram, with session data, log lines and registers in
between. A PysmurfMonitor takes it for the real thing.
"""

EPILOG = """\
examples:
  ocs-pysmurf-simulator --count 100             100 files, ten a second
  ocs-pysmurf-simulator --rate 1000 --duration 60 --json
  ocs-pysmurf-simulator --day --speed 1440      a day of six streams, in a minute
  ocs-pysmurf-simulator --no-files --count 5    announces what is not there

Without an end it goes on until Ctrl-C. Equal --seed and --start make equal files and
datagrams. Exit code 1 if something went wrong, or nobody on this machine listened.
"""

_STREAMS: Final = ("crate1slot2",)
_CRATE: Final = tuple(f"crate1slot{slot}" for slot in range(2, 8))
"""The streams of one server, whose crate has six slots for SMuRF cards."""
_RATE: Final = 10.0
_UNITS: Final = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def main(args: Sequence[str] | None = None) -> int:
    """Run ``ocs-pysmurf-simulator``; returns the exit code."""
    parsed = _checked(_make_parser(), args)
    return program(lambda: run(parsed))


def run(args: argparse.Namespace) -> int:
    """Publish what the command line says, and say what that was.

    Returns:
        0; 1 if nobody listened, as far as that can be told; 130 if it was broken off before its end.

    Raises:
        SimulatorError: the files cannot be written, or nothing can be sent.
    """
    plan = _plan(args)
    messages, total = _messages(args, plan)
    sender = Sender(args.host, args.port)
    publisher = Publisher(plan, sender, files=not args.no_files, late=args.late, speed=args.speed or 1.0)
    try:
        with progress_bar() as progress:
            publisher.publish(messages, lambda tally: progress("files", tally.files, total or tally.files))
        broken_off = False
    except KeyboardInterrupt:
        broken_off = total is not None  # else it is the only end there is
    finally:
        sender.close()
    _report(args, plan, publisher.tally, sender.unheard)
    return 130 if broken_off else int(sender.unheard > 0)


def _plan(args: argparse.Namespace) -> Plan:
    return Plan(
        folder=os.path.abspath(args.data_dir),  # noqa: PTH100 - keeps links
        start=time.time() if args.start is None else args.start,
        streams=tuple(args.stream_id or (_CRATE if args.day else _STREAMS)),
        rate=args.rate or _RATE,
        size=args.size,
        metadata_rate=args.metadata_rate,
        seed=args.seed,
    )


def _messages(args: argparse.Namespace, plan: Plan) -> tuple[Iterable[Message], int | None]:
    """Return what is to be published, and how many files that will be; None if it has no end."""
    end = args.duration * (args.speed or 1.0) if args.duration else None
    if args.day:
        messages = list(until(day(plan), files=args.count, seconds=end))
        return messages, sum(bool(message.file) for message in messages)
    totals = [args.count or math.inf, end * plan.rate if end else math.inf]
    total = None if min(totals) == math.inf else math.ceil(min(totals))
    return until(steady(plan), files=args.count, seconds=end), total


def _report(args: argparse.Namespace, plan: Plan, tally: Tally, unheard: int) -> None:
    where = {"host": args.host, "port": args.port, "data_dir": plan.folder, "start": plan.start, "seed": plan.seed}
    if args.json:
        say_json({**asdict(tally), "rate": tally.rate, "unheard": unheard, "streams": plan.streams, **where})
    else:
        files = f"{count(tally.files, 'file')} of {count(len(plan.streams), 'stream')}"
        pace = f"{duration(tally.seconds)} ({tally.rate:.1f} files/s)"
        say(f"announced {files} to {args.host}:{args.port} in {pace}, {count(tally.datagrams, 'datagram')} in all")
        say(f"wrote {tally.written:,} bytes below {plan.folder}")
    if unheard:
        warn(f"nobody listened on {args.host}:{args.port} to {count(unheard, 'datagram')}; is the monitor running?")


def _make_parser() -> Parser:
    parser = Parser(
        prog="ocs-pysmurf-simulator",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="where the monitor runs (%(default)s)")
    add("--port", type=_port, default=8200, help="its --udp-port (%(default)s)")
    add("--data-dir", default="ocs-data/pysmurf", metavar="DIR", help="where files are written (%(default)s)")
    add("--stream-id", action="append", type=_stream_id, metavar="ID", help="may be repeated (crate1slot2)")
    add("--rate", type=_rate, metavar="HZ", help="files a second (10)")
    add("--count", type=_count, metavar="N", help="end after so many files")
    add("--duration", type=seconds, metavar="S", help="end after so many seconds")
    add("--size", type=_size, default=1000, metavar="BYTES", help="of each file, as 500, 64k or 100M (%(default)s)")
    add("--metadata-rate", type=_rate_or_none, default=1.0, metavar="HZ", help="register messages a second (1)")
    add("--day", action="store_true", help="a day of a SMuRF server with six streams, from now on")
    add("--speed", type=_rate, metavar="X", help="how many times faster the day goes by (1)")
    add("--late", type=_rate_or_none, default=0.0, metavar="S", help="write a file so long after its announcement")
    add("--no-files", action="store_true", help="announce only")
    add("--seed", type=int, default=0, metavar="N", help="of all that is left to chance (%(default)s)")
    add("--start", type=_rate_or_none, metavar="TIME", help="what the first moment is called, unix s (now)")
    add("--json", action="store_true", help="print the summary as JSON")
    return parser


def _checked(parser: Parser, words: Sequence[str] | None) -> argparse.Namespace:
    args = parser.parse_args(words)
    if args.speed and not args.day:
        parser.error("--speed goes with --day; without, --rate says how fast it is")
    if args.rate and args.day:
        parser.error("--rate does not go with --day, which has its own times; --speed makes it faster")
    return args


def _rate(word: str) -> float:
    value = _rate_or_none(word)
    if not value:
        raise argparse.ArgumentTypeError(f"{word!r} is not above 0")
    return value


def _rate_or_none(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 0 on")
    return value


def _count(word: str) -> int:
    if word.isascii() and word.isdigit() and int(word):
        return int(word)
    raise argparse.ArgumentTypeError(f"{word!r} is no number above 0")


def _port(word: str) -> int:
    if word.isascii() and word.isdigit() and 0 < int(word) < 1 << 16:
        return int(word)
    raise argparse.ArgumentTypeError(f"{word!r} is no port from 1 to 65535")


def _size(word: str) -> int:
    if found := re.fullmatch(r"(\d+)([kMG]?)", word, re.ASCII):
        return int(found[1]) * _UNITS[found[2]]
    raise argparse.ArgumentTypeError(f"{word!r} is no size such as 500, 64k or 100M")


def _stream_id(word: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_:+-][A-Za-z0-9._:+-]*", word):
        return word
    raise argparse.ArgumentTypeError(f"{word!r} has more than letters, digits and ._:+- in it, or begins with a dot")


if __name__ == "__main__":
    raise SystemExit(main())
