"""Everything that is in a file, frame by frame."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ocs.hk.archive import DamagedFileError
from ocs.hk.library import LIBRARY_ERRORS, reason, spt3g_core, translator

__all__ = ["Samples", "read_file"]

_DATA = 2


class Samples(NamedTuple):
    """One block of one data frame."""

    address: str
    """The feed's address."""
    block: str
    """The block's name."""
    ticks: Any
    """The samples' times: an int64 array, in steps of 10 ns since 1970."""
    columns: Any
    """Field → values, as long as the times."""


def read_file(path: Path) -> Iterator[Samples]:
    """Read the blocks of a file's data frames, by spt3g alone.

    Raises:
        DamagedFileError: after the last whole frame of a damaged file.
        RecordingLibraryError: so3g is not installed.
    """
    core, translate = spt3g_core(), translator()
    count = 0
    try:
        for frame in core.G3File(str(path)):
            for translated in translate(frame):
                yield from _samples(translated)
            count += 1
    except LIBRARY_ERRORS as error:
        raise DamagedFileError(path, count, reason(error)) from error


def _samples(frame: Any) -> Iterator[Samples]:
    if "hkagg_type" not in frame or int(frame["hkagg_type"]) != _DATA:
        return
    address = str(frame["address"])
    for name, block in zip(frame["block_names"], frame["blocks"], strict=False):
        yield Samples(address, str(name), np.asarray(block.times), block)
