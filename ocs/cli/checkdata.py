"""``checkdata``: how old the newest recorded sample of every feed is, and how much was recorded."""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ocs.cli.output import program, say, say_json, table, warn
from ocs.cli.progress import progress_bar
from ocs.cli.readable import count, duration, printable, when

if TYPE_CHECKING:
    from ocs.hk import DamagedFileError, FeedSummary

__all__ = ["main"]

_WIDEST_VALUE: Final = 40


def _feed_row(feed: "FeedSummary", now: float) -> tuple[object, ...]:
    return (
        printable(feed.instance),
        printable(feed.feed),
        duration(now - feed.newest),
        when(feed.newest),
        feed.samples,
        len(feed.fields),
        duration(feed.newest - feed.oldest),
    )


def _field_rows(feed: "FeedSummary", now: float) -> Iterator[tuple[object, ...]]:
    for name, field in sorted(feed.fields.items()):
        shown = printable(str(field.value), _WIDEST_VALUE)
        yield printable(feed.instance), printable(feed.feed), printable(name), duration(now - field.newest), shown


def _record(feed: "FeedSummary", now: float) -> dict[str, Any]:
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


def _show(feeds: "Sequence[FeedSummary]", now: float, *, verbose: bool) -> None:
    table(
        ("instance", "feed", "age", "newest (UTC)", "samples", "fields", "span"),
        [_feed_row(feed, now) for feed in feeds],
    )
    if verbose:
        say()
        rows = [row for feed in feeds for row in _field_rows(feed, now)]
        table(("instance", "feed", "field", "age", "newest value"), rows)


def _warn_of(damage: "Sequence[DamagedFileError]") -> None:
    for error in damage:
        warn(f"{error}; what comes before is counted")


def run(args: argparse.Namespace, *, now: Callable[[], float] = time.time) -> int:
    """Read what the command line names and show it.

    Returns:
        0; 1 if no recorded sample was found.

    Raises:
        RecordingError: there is nothing to read, or nothing to read it with.
    """
    from ocs.hk import archive_files, summarize  # noqa: PLC0415 - where so3g is missing, this is one line and no more

    files = archive_files(args.target)
    with progress_bar() as progress:
        feeds, damage = summarize(files, progress=progress)
    if args.json:
        damaged = [{"path": str(error.path), "frames": error.frames, "error": str(error)} for error in damage]
        say_json({"files": len(files), "feeds": [_record(feed, now()) for feed in feeds], "damaged": damaged})
    else:
        _show(feeds, now(), verbose=args.verbose)
        total = sum(feed.values for feed in feeds)
        say(f"\n{count(total, 'value')} of {count(len(feeds), 'feed')} in {count(len(files), 'file')}")
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
