"""Counts the samples in all .g3 files below a folder: field values of recorded blocks, read with so3g."""

import json
import sys
from pathlib import Path

from so3g import hk  # noqa: F401 - registers the frame types
from spt3g import core


def blocks(path):
    """Yield every recorded block of a file."""
    for frame in core.G3File(str(path)):
        if frame.type == core.G3FrameType.Housekeeping and frame["hkagg_type"] == 2:
            yield from frame["blocks"]


def count(folder):
    """Samples, distinct ones by (field, time), and files."""
    total, files = 0, sorted(Path(folder).rglob("*.g3"))
    for path in files:
        for block in blocks(path):
            total += len(block.times) * len(block.keys())
    return {"samples": total, "files": len(files), "bytes": sum(path.stat().st_size for path in files)}


if __name__ == "__main__":
    print("@" + json.dumps(count(sys.argv[1])), flush=True)
