"""``checkdata``: how old the newest recorded sample of every feed is, and how much was recorded."""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ocs.cli.output import program, say, say_json, table, warn
from ocs.hk import DamagedFileError, FeedSummary, archive_files, summarize

__all__ = ["main"]

_WIDEST_VALUE: Final = 40
_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def duration(seconds: float) -> str:
    """Return a time span (s) as people say it."""
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _when(timestamp: float) -> str:
    try:
        return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return f"{timestamp:.0f}"  # beyond the calendar


def _feed_row(feed: FeedSummary, now: float) -> tuple[object, ...]:
    return (
        feed.instance,
        feed.feed,
        duration(now - feed.newest),
        _when(feed.newest),
        feed.samples,
        len(feed.fields),
        duration(feed.newest - feed.oldest),
    )


def _field_rows(feed: FeedSummary, now: float) -> Iterator[tuple[object, ...]]:
    for name, field in sorted(feed.fields.items()):
        value = str(field.value)
        shown = value if len(value) <= _WIDEST_VALUE else f"{value[:_WIDEST_VALUE]}…"
        yield feed.instance, feed.feed, name, duration(now - field.newest), shown


def _record(feed: FeedSummary, now: float) -> dict[str, Any]:
    return {
        "instance": feed.instance,
        "feed": feed.feed,
        "address": feed.address,
        "age": now - feed.newest,
        "newest": feed.newest,
        "oldest": feed.oldest,
        "samples": feed.samples,
        "values": feed.values,
        "fields": {
            name: {"age": now - field.newest, "newest": field.newest, "value": _json_value(field.value)}
            for name, field in sorted(feed.fields.items())
        },
    }


def _json_value(value: Any) -> Any:
    # JSON has no word for NaN and the infinities.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


@contextmanager
def _progress(files: Sequence[Path]) -> Iterator[Callable[[Path], None]]:
    """Show a bar on standard error while the files are read, if that is a terminal; yields what moves it on."""
    if not sys.stderr.isatty():
        yield lambda path: None  # noqa: ARG005 - nobody watches
        return
    from rich.console import Console  # noqa: PLC0415 - rich is slow to load and of no use in a pipe
    from rich.progress import Progress  # noqa: PLC0415 - the same

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=sum(_size(path) for path in files))
        yield lambda path: bar.advance(task, _size(path))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _show(feeds: Sequence[FeedSummary], now: float, *, verbose: bool) -> None:
    table(
        ("instance", "feed", "age", "newest (UTC)", "samples", "fields", "span"),
        [_feed_row(feed, now) for feed in feeds],
    )
    if verbose:
        say()
        rows = [row for feed in feeds for row in _field_rows(feed, now)]
        table(("instance", "feed", "field", "age", "newest value"), rows)


def _warn_of(damage: Sequence[DamagedFileError]) -> None:
    for error in damage:
        warn(f"{error}; what comes before is counted")


def run(args: argparse.Namespace, *, now: Callable[[], float] = time.time) -> int:
    """Read what the command line names and show it.

    Returns:
        0; 1 if no recorded sample was found.

    Raises:
        RecordingError: there is nothing to read.
    """
    files = archive_files(args.target)
    with _progress(files) as advance:
        feeds, damage = summarize(files, done=advance)
    if args.json:
        damaged = [{"path": str(error.path), "frames": error.frames, "error": str(error)} for error in damage]
        say_json({"files": len(files), "feeds": [_record(feed, now()) for feed in feeds], "damaged": damaged})
    else:
        _show(feeds, now(), verbose=args.verbose)
        total = sum(feed.values for feed in feeds)
        say(f"\n{_count(total, 'value')} of {_count(len(feeds), 'feed')} in {_count(len(files), 'file')}")
        _warn_of(damage)
    return 0 if feeds else 1


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="checkdata",
        description="Show, for every instance and feed, how old the newest recorded sample is, and how many there are.",
        epilog="Example: `checkdata -v /data/hk`. Exit code 1 if there is no recorded sample.",
    )
    parser.add_argument("target", metavar="FILE_OR_FOLDER", help="a .g3 file, or a folder with .g3 files at any depth")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every field, with its newest value")
    parser.add_argument("--json", action="store_true", help="print JSON, with every field")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run ``checkdata``; returns the exit code."""
    parsed = _make_parser().parse_args(args)
    return program(lambda: run(parsed))


if __name__ == "__main__":
    raise SystemExit(main())
