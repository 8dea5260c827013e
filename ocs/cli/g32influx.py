"""``g32influx``: loads recorded files into InfluxDB, and goes on where it was broken off."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ocs.cli.output import program, say, say_json, warn
from ocs.cli.parsing import Parser
from ocs.cli.progress import progress_bar
from ocs.cli.readable import count
from ocs.errors import DatabaseTroubleError
from ocs.influx.delivery import BATCH_BYTES, Delivery, pause
from ocs.influx.lines import chunks
from ocs.influx.link import Link
from ocs.influx.options import flag, from_environment, port
from ocs.influx.server import Server, server_v1

if TYPE_CHECKING:
    from ocs.hk import Samples
    from ocs.influx.loaded import Loaded

__all__ = ["main"]

DESCRIPTION: Final = """\
Load recorded .g3 files into a database of InfluxDB 1, as an InfluxDBAgent would have written what is in them.
"""

EPILOG: Final = """\
examples:
  g32influx /data/hk ocs_feeds localhost 8086
  g32influx /data/hk ocs_feeds localhost 8086 --start 2026-01-01 --end 2026-02-01

A file of which all is in is noted in --notes, and left out the next time, unless it
has changed: broken off at any moment, the same command goes on. Loading a file twice
does no harm. INFLUXDB_USERNAME and INFLUXDB_PASSWORD (or ..._FILE) log in.
Exit code 1 if something could not be loaded.
"""

_SAY_EVERY: Final = 10.0
"""Seconds between two lines about how far it is."""

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_log = logging.getLogger("g32influx")
_log.addHandler(logging.NullHandler())  # without a log file, what is told is told once


def main(args: Sequence[str] | None = None) -> int:
    """Run ``g32influx``; returns the exit code."""
    parsed = _make_parser().parse_args(args)
    return program(lambda: run(parsed))


def run(args: argparse.Namespace, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Load what the command line names.

    Returns:
        0; 1 if a file is damaged, or the database would not take everything.

    Raises:
        RecordingError: there is nothing to read, or nothing to read it with.
        DatabaseTroubleError: the database is away, or takes nothing, for longer than ``--patience``.
        MomentError: ``--start`` or ``--end`` is no time.
    """
    from ocs.hk import archive_files  # noqa: PLC0415 - where so3g is missing, this is one line and no more
    from ocs.hk.moments import span_of  # noqa: PLC0415 - the same
    from ocs.influx.loaded import Loaded  # noqa: PLC0415 - needed here only

    _log_to(args.logfile, args.log)
    span = span_of(args.start, args.end)
    files = archive_files(args.target)
    server = _server(args)
    link = Link(server)
    loader = _Loader(Delivery(server, link, compress=args.gzip, tell=_tell), span, args.patience, sleep)
    loaded = Loaded(Path(args.notes).expanduser(), f"{args.host}:{args.port}/{args.database}")
    try:
        with loaded, progress_bar() as bar:
            _load_all(loader, loaded, files, bar if sys.stderr.isatty() else _Lines(), again=args.again)
    finally:
        link.close()
    (say_json if args.json else _show)(loader.summary())
    return 1 if loader.has_trouble else 0


def _load_all(
    loader: "_Loader",
    loaded: "Loaded",
    files: Sequence[Path],
    progress: Callable[[str, int, int], None],
    *,
    again: bool,
) -> None:
    sizes = [_size(path) for path in files]
    done = 0
    for path, size in zip(files, sizes, strict=True):
        progress("loading", done, sum(sizes))
        _load_one(loader, loaded, path, again=again)
        done += size


def _load_one(loader: "_Loader", loaded: "Loaded", path: Path, *, again: bool) -> None:
    try:
        known = not again and loaded.has(path)
        mark = loaded.mark(path)  # before it is read: what is added meanwhile is for the next time
    except OSError as error:
        loader.give_up(path, f"{path} cannot be read: {error.strerror}")
        return
    if known:
        loader.known += 1
    elif loader.load(path):
        loaded.add(path, mark)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it is told when its turn comes
        return 0


class _Lines:
    """Says now and then how far it is, where nobody would see a bar."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + _SAY_EVERY

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._clock() >= self._next:
            self._next = self._clock() + _SAY_EVERY
            warn(f"{what}: {done >> 20} of {total >> 20} MiB")


class _Loader:
    """Brings files into the database, one after the other."""

    def __init__(
        self,
        delivery: Delivery,
        span: tuple[float | None, float | None],
        patience: float,
        sleep: Callable[[float], None],
    ) -> None:
        self.known = self.files = self.points = 0
        self.damaged: dict[str, str] = {}
        self._delivery = delivery
        self._start, self._end = span
        self._patience = patience
        self._sleep = sleep
        self._left_out = 0

    def load(self, path: Path) -> bool:
        """Load a file; tell whether all that was in it is in the database now."""
        from ocs.hk import DamagedFileError, quiet_library, read_file  # noqa: PLC0415 - as above

        whole = True
        rows: list[str] = []
        size = 0
        try:
            with quiet_library():
                for samples in read_file(path):
                    lines, cut = self._lines(samples)
                    whole = whole and not cut
                    rows += lines
                    size += sum(map(len, lines))
                    if size >= BATCH_BYTES:
                        self._send(rows)
                        rows, size = [], 0
        except DamagedFileError as error:
            self.give_up(path, f"{error}; what comes before is loaded")
            whole = False
        self._send(rows)
        self.files += 1
        _log.info("%s loaded", path)
        return whole

    def give_up(self, path: Path, why: str) -> None:
        """Note that not all of a file can be loaded."""
        self.damaged[str(path)] = why
        _log.warning("%s", why)

    def _lines(self, samples: "Samples") -> tuple[list[str], bool]:
        """Return the lines of a block, and whether some of its samples are out of the span."""
        from ocs.influx.recorded import lines_of  # noqa: PLC0415 - needs NumPy

        lines, cut = lines_of(samples, self._start, self._end)
        self._left_out += sum(lines.left_out.values())
        return lines.rows, cut

    def _send(self, rows: list[str]) -> None:
        for points, body in chunks(rows, self._delivery.most_bytes):
            self._deliver(body, points)
            self.points += points

    def _deliver(self, body: bytes, points: int) -> None:
        """Deliver lines, however long the server is away, up to the patience of whoever waits.

        Raises:
            DatabaseTroubleError: it is away for longer.
        """
        attempts = 0
        waited = 0.0
        while not (outcome := self._delivery.deliver(body, points)).done:
            attempts += 1
            delay = outcome.retry_after or pause(attempts)
            if waited + delay > self._patience:
                raise DatabaseTroubleError("away", f"{outcome.trouble}; run the command again to go on")
            if attempts == 1:
                _tell(f"{outcome.trouble}; trying again", "away")
            waited += delay
            self._sleep(delay)

    @property
    def has_trouble(self) -> bool:
        """Whether something could not be loaded."""
        return bool(self.damaged or self._delivery.dropped)

    def summary(self) -> dict[str, Any]:
        """Return what was done."""
        return {
            "points": self.points - sum(self._delivery.dropped.values()),
            "files": self.files,
            "known_files": self.known,
            "left_out_values": self._left_out + sum(self._delivery.left_out.values()),
            "dropped_points": dict(self._delivery.dropped),
            "damaged_files": self.damaged,
        }


def _show(summary: Mapping[str, Any]) -> None:
    known = f", {count(summary['known_files'], 'file')} known" if summary["known_files"] else ""
    say(f"{count(summary['points'], 'point')} of {count(summary['files'], 'file')} loaded{known}")
    if left_out := summary["left_out_values"]:
        warn(f"{count(left_out, 'value')} left out, which InfluxDB has no word for, or another type")
    if dropped := summary["dropped_points"]:
        reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(dropped.items()))
        warn(f"{count(sum(dropped.values()), 'point')} not taken by the database: {reasons}")
    for why in summary["damaged_files"].values():
        warn(why)


def _tell(text: str, about: str) -> None:  # noqa: ARG001 - one line is one line
    warn(text)
    _log.warning("%s", text)


def _log_to(path: str | None, level: str) -> None:
    _log.setLevel(level.upper())
    if path:
        handler = logging.FileHandler(path, delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        _log.addHandler(handler)
        _log.propagate = False


def _server(args: argparse.Namespace) -> Server:
    return server_v1(
        args.host,
        args.port,
        args.database,
        username=from_environment(os.environ, "INFLUXDB_USERNAME"),
        password=from_environment(os.environ, "INFLUXDB_PASSWORD"),
        ssl=args.ssl,
        verify_ssl=args.verify_ssl,
    )


def _make_parser() -> Parser:
    parser = Parser(
        prog="g32influx",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("target", metavar="TARGET", help="a .g3 file, or a folder with .g3 files at any depth")
    add("database", metavar="DATABASE", help="where the points go; made if it is not there")
    add("host", metavar="HOST", help="where InfluxDB runs")
    add("port", metavar="PORT", type=port, help="its port, such as 8086")
    add("--start", metavar="TIME", help="leave out what was taken before: 2026-01-31T12:00 (UTC), unix seconds, -1d")
    add("--end", metavar="TIME", help="leave out what was taken at this time or later")
    add("--log", type=str.lower, choices=_LEVELS, default="info", help="what goes into the log file (%(default)s)")
    add("--logfile", metavar="FILE", help="append a line for each file, and for each trouble, to this file")
    add("--notes", metavar="FILE", default=_notes(), help="remembers what is loaded (%(default)s)")
    add("--again", action="store_true", help="load also what has been loaded before")
    add("--json", action="store_true", help="print what was done as JSON")
    add("--patience", metavar="S", type=float, default=600.0, help="seconds to wait for a database that is away (600)")
    flag(parser, "--gzip", "compress what is sent", default=False)
    flag(parser, "--ssl", "speak HTTPS", default=False)
    flag(parser, "--verify-ssl", "check the server's certificate", default=False)
    return parser


def _notes() -> str:
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return f"{home}/ocs/g32influx.jsonl"


if __name__ == "__main__":
    raise SystemExit(main())
