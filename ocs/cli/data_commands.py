"""What the commands of ``ocs data`` do."""

import argparse
import csv
import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

from ocs.cli.data_rows import Rows, plain, short_names
from ocs.cli.data_source import Source, source_of, span_in
from ocs.cli.output import say, say_json, table, warn
from ocs.cli.progress import progress_bar
from ocs.cli.readable import count, duration, printable, when
from ocs.errors import RecordingError
from ocs.hk import FeedSummary, Gap, IndexedFile, Progress, archive_files, open_archive
from ocs.hk.archive import with_archive
from ocs.hk.gaps import gaps_in
from ocs.hk.index import index_path
from ocs.hk.loading import Data, load_from
from ocs.hk.moments import seconds_of
from ocs.hk.summary import summarize_archive

__all__ = ["csv_", "gaps_", "index_", "list_", "plot_", "print_"]

_WIDEST_VALUE: Final = 40
_CSV_STEP: Final = 10_000


def list_(args: argparse.Namespace) -> int:
    """Show feeds and fields; returns 1 if there are none."""
    source, span = source_of(args), span_in(args)

    def use(archive: list[IndexedFile]) -> tuple[list[FeedSummary], list[IndexedFile]]:
        return summarize_archive(archive, *span), archive

    with progress_bar() as progress:
        feeds, archive = with_archive(archive_files(source.folder), use, progress)
    if args.json:
        damaged = [{"path": str(file.path), "error": str(file.damage)} for file in archive if file.damage]
        say_json({"files": len(archive), "feeds": [_feed_record(feed) for feed in feeds], "damaged": damaged})
        return 0 if feeds else 1
    table(("field", "type", "samples", "first (UTC)", "last (UTC)"), _field_rows(feeds))
    fields = sum(len(feed.fields) for feed in feeds)
    say(f"\n{count(fields, 'field')} of {count(len(feeds), 'feed')} in {count(len(archive), 'file')}")
    _warn_of_damage(archive)
    return 0 if feeds else 1


def _field_rows(feeds: Iterable[FeedSummary]) -> list[tuple[object, ...]]:
    return [
        (printable(f"{feed.address}.{name}"), field.type, field.samples, when(field.oldest), when(field.newest))
        for feed in feeds
        for name, field in sorted(feed.fields.items())
    ]


def _feed_record(feed: FeedSummary) -> dict[str, Any]:
    return {
        "feed": feed.address,
        "samples": feed.samples,
        "oldest": feed.oldest,
        "newest": feed.newest,
        "fields": {
            name: {key: value for key, value in dataclasses.asdict(field).items() if key != "value"}
            for name, field in sorted(feed.fields.items())
        },
    }


def _warn_of_damage(archive: Iterable[IndexedFile]) -> None:
    for file in archive:
        if file.damage:
            warn(f"{printable(str(file.damage))}; what comes before is there")


def gaps_(args: argparse.Namespace) -> int:
    """Show what is missing."""
    source, span = source_of(args), span_in(args)
    longer_than = None if args.longer_than is None else seconds_of(args.longer_than)

    def use(archive: list[IndexedFile]) -> list[Gap]:
        _warn_of_damage(archive)
        return gaps_in(archive, source.names or None, *span, longer_than, progress=progress)

    with progress_bar() as progress:
        found = with_archive(archive_files(source.folder), use, progress)
    if args.json:
        say_json([{key: plain(value) for key, value in gap._asdict().items()} for gap in found])
        return 0
    table(("feed", "since (UTC)", "until (UTC)", "for", "what", "samples", "why"), map(_gap_row, found))
    say(f"\n{count(len(found), 'gap')}{_sum_of(found)}")
    return 0


def _gap_row(gap: Gap) -> tuple[object, ...]:
    known = not math.isnan(gap.until - gap.since)
    return (
        printable(gap.feed),
        _when_known(gap.since),
        _when_known(gap.until),
        duration(gap.until - gap.since) if known else "?",
        gap.kind,
        gap.samples or "",
        printable(gap.detail, _WIDEST_VALUE),
    )


def _when_known(moment: float) -> str:
    return "?" if math.isnan(moment) else when(moment, 1)


def _sum_of(found: Iterable[Gap]) -> str:
    lost = sum(gap.samples for gap in found)
    return f", {count(lost, 'sample')} lost" if lost else ""


@contextmanager
def _loaded(args: argparse.Namespace) -> Iterator[tuple[Data, Progress]]:
    """Load the fields that a command line names; a progress bar is shown until the end of the block."""
    source = _with_names(source_of(args))
    span = span_in(args)

    def use(archive: list[IndexedFile]) -> Data:
        _warn_of_damage(archive)
        return load_from(archive, source.names, *span, progress=progress)

    with progress_bar() as progress:
        yield with_archive(archive_files(source.folder), use, progress), progress


def _with_names(source: Source) -> Source:
    if not source.names:
        raise RecordingError("which fields? `ocs data list` shows what there is")
    return source


def print_(args: argparse.Namespace) -> int:
    """Show samples in a table; returns 1 if there are none."""
    with _loaded(args) as (data, _):
        rows = Rows(data)
        first = max(0, len(rows) - args.rows) if args.rows else 0
    if args.json:
        say_json({name: _field_record(one, args.rows) for name, one in data.items()})
        return 0 if len(rows) else 1
    headings = [printable(name) for name in short_names(list(data))]
    table(("time (UTC)", *headings), ((when(time, 3), *map(_cell, values)) for time, values in rows.rows(first)))
    if first:
        warn(f"{count(first, 'earlier row')} left out; --rows 0 shows all")
    return _told_if_empty(rows)


def _field_record(field: Any, newest: int) -> dict[str, Any]:
    times, values = field.times[-newest:].tolist(), field.values[-newest:].tolist()
    return {"times": times, "values": [plain(value) for value in values]}


def _cell(value: Any) -> str:
    return "" if value is None else printable(str(value), _WIDEST_VALUE)


def _told_if_empty(rows: Rows) -> int:
    if len(rows):
        return 0
    warn("there are no samples in that span of time")
    return 1


def csv_(args: argparse.Namespace) -> int:
    """Write samples as comma-separated values; returns 1 if there are none."""
    with _loaded(args) as (data, progress):
        rows = Rows(data)
        if args.output is None:
            _write_csv(sys.stdout, data, rows, progress, utc=args.utc)
        else:
            try:
                with args.output.open("w", newline="", encoding="utf-8") as file:
                    _write_csv(file, data, rows, progress, utc=args.utc)
            except OSError as error:
                raise _cannot_write(args.output, error) from error
    return _told_if_empty(rows)


def _cannot_write(path: Any, error: OSError) -> RecordingError:
    return RecordingError(f"{path} cannot be written: {error.strerror or error}")


def _write_csv(file: TextIO, data: Data, rows: Rows, progress: Progress, *, utc: bool) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", *data])
    for number, (time, values) in enumerate(rows.rows()):
        writer.writerow([when(time, 6) if utc else repr(time), *values])
        if number % _CSV_STEP == 0:
            progress("writing", number, len(rows))


def plot_(args: argparse.Namespace) -> int:
    """Draw fields over time."""
    from ocs.cli.data_plot import draw  # noqa: PLC0415 - matplotlib is slow to load, and may be missing

    source, span = _with_names(source_of(args)), span_in(args)

    def use(archive: list[IndexedFile]) -> tuple[Data, list[Gap]]:
        _warn_of_damage(archive)
        data = load_from(archive, source.names, *span, progress=progress)
        feeds = dict.fromkeys(name.rpartition(".")[0] for name in data)
        return data, gaps_in(archive, feeds, *span, progress=progress)

    with progress_bar() as progress:
        data, found = with_archive(archive_files(source.folder), use, progress)
        try:
            draw(data, found, args.output, title=args.title, span=span)
        except OSError as error:
            raise _cannot_write(args.output, error) from error
    say(f"{args.output}: {count(len(data), 'field')}, {count(sum(len(one.times) for one in data.values()), 'sample')}")
    return 0


def index_(args: argparse.Namespace) -> int:
    """Make indexes; returns 1 if a file is damaged, or an index cannot be written."""
    files = archive_files(source_of(args).folder)
    before = {path for path in files if index_path(path).exists()}
    with progress_bar() as progress:
        archive = open_archive(files, rebuild=args.rebuild, progress=progress)
    missing = [path for path in files if not index_path(path).exists() and path.stat().st_size]
    made = len(files) - len(missing) - (0 if args.rebuild else len(before))
    damaged = [file for file in archive if file.damage]
    frames = sum(file.summary.frames for file in archive)
    if args.json:
        told = [{"path": str(file.path), "error": str(file.damage)} for file in damaged]
        say_json({"files": len(files), "frames": frames, "made": made, "damaged": told, "unwritten": len(missing)})
    else:
        say(f"{count(len(files), 'file')} with {count(frames, 'frame')}; indexes made: {made}")
        _warn_of_damage(archive)
        if missing:
            warn(f"no index could be written to {index_path(missing[0]).parent}: who reads the archive has to wait")
    return 1 if damaged or missing else 0
