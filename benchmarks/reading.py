"""Reading back: a day of 100 channels at 10 Hz, by `ocs.hk.load` and by so3g's own reader, with equal results.

The day is in files of an hour and frames of 60 s, with the index that the aggregator keeps. Each reading is a process
of its own; the clock starts when its libraries are loaded. The files are in the memory of the system, on both sides.
"""

import json
import shutil
from functools import partial

from benchmarks.case import Case, Figure, Target
from benchmarks.sides import OURS, PUBLISHED, BenchmarkError

__all__ = ["CASES"]

HOURS, QUICK_HOURS = 24, 3
READERS = {OURS: "ours", PUBLISHED: "so3g"}
PATIENCE = 180


def archive(bench):
    """Make the archive, once; returns its folder and what is in it."""
    folder, known = bench.directory / "day", bench.directory / "day.json"
    if not known.exists():
        with bench.program("make_archive", folder, QUICK_HOURS if bench.quick else HOURS) as maker:
            known.write_text(json.dumps(maker.answer(timeout=PATIENCE)))
    return folder, json.loads(known.read_text())


def read(what, bench, side, *, index=True):
    """Read a part of the archive.

    Raises:
        BenchmarkError: the two sides have not read the same.
    """
    folder, made = archive(bench)
    if not index:
        shutil.rmtree(folder / ".index")
    field, first, last = parts(made)[what]
    with bench.program("read_archive", READERS[side.name], folder, field, first, last, side=side) as reader:
        told = reader.answer(timeout=PATIENCE)
    check_equal(bench, what, told)
    return told


def parts(made):
    """What is read: field, start, stop."""
    hour = made["start"] + 3600
    return {
        "field": (f"{made['feed']}.channel_05", "-", "-"),
        "hour": ("all", hour, hour + 3600),
        "day": ("all", "-", "-"),
    }


def check_equal(bench, what, told):
    """Compare what was read with what was read of it before, by whichever side."""
    known = bench.directory / f"read-{what}"
    if not known.exists():
        known.write_text(told["checksum"])
    if known.read_text() != told["checksum"]:
        raise BenchmarkError(f"the sides have read different things: {what}")


def figures(wall):
    """The figures of a reading.

    Args:
        wall: the most it may take (s).
    """
    return (
        Figure("wall", "wall (s)", (Target(wall, ratio=False), Target(1))),
        Figure("cpu", "CPU (s)"),
        Figure("peak", "peak (MiB)"),
        Figure("samples", "samples read"),
    )


CASES = (
    Case("reading a field", "one of 100 channels, the whole day", partial(read, "field"), figures(0.5)),
    Case("reading an hour", "all channels, one hour", partial(read, "hour"), figures(0.5)),
    Case("reading a day", "all channels, the whole day", partial(read, "day"), figures(5)),
    Case(
        "reading without index",
        "one channel, the whole day; every frame is checked, and the index made",
        partial(read, "field", index=False),
        (Figure("wall", "wall (s)"), Figure("cpu", "CPU (s)"), Figure("peak", "peak (MiB)")),
        sides=(OURS,),
    ),
)
