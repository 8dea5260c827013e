"""Counts the samples of a load in all .g3 files below a folder: field values of recorded blocks, read with so3g.

A load's blocks are told from others (a recorder may have notes of its own) by their names. What is there a second time,
by block name, field and time, is counted apart.
"""

import json
import sys
from pathlib import Path

import numpy as np
from so3g import hk  # noqa: F401 - registers the frame types
from spt3g import core


def blocks(path):
    """Yield every recorded block of a file with its name, up to where the file was torn, if it was."""
    try:
        for frame in core.G3File(str(path)):
            if frame.type == core.G3FrameType.Housekeeping and frame["hkagg_type"] == 2:
                yield from zip(frame["block_names"], frame["blocks"], strict=True)
    except RuntimeError as error:
        print(f"{path}: {error}", file=sys.stderr)


def count(folder):
    """Samples, those that are there a second time, files, and bytes."""
    times, files = {}, sorted(Path(folder).rglob("*.g3"))
    for path in files:
        for name, block in blocks(path):
            if not name.startswith("load"):
                continue
            times.setdefault((name, tuple(sorted(block.keys()))), []).append(np.array(block.times, dtype=np.int64))
    total = twice = 0
    for (_, fields), parts in times.items():
        stamps = np.concatenate(parts)
        total += len(stamps) * len(fields)
        twice += (len(stamps) - len(np.unique(stamps))) * len(fields)
    return {"samples": total, "twice": twice, "files": len(files), "bytes": sum(path.stat().st_size for path in files)}


if __name__ == "__main__":
    print("@" + json.dumps(count(sys.argv[1])), flush=True)
