"""Reading housekeeping archives: what was recorded, from when to when. `ocs.agents.aggregator` writes them."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ocs.errors import RecordingError, RecordingLibraryError

__all__ = [
    "DamagedFileError",
    "FeedSummary",
    "FieldSummary",
    "Samples",
    "archive_files",
    "quiet_library",
    "read_file",
    "summarize",
]

_TICKS_PER_SECOND = 100_000_000
_DATA = 2


class DamagedFileError(RecordingError):
    """A file ends in the middle of a frame, or is no housekeeping file at all.

    Attributes:
        path: the file.
        frames: how many frames before the damage could be read.
    """

    def __init__(self, path: Path, frames: int, why: str) -> None:
        super().__init__(f"{path} is damaged after {frames} frames: {why}")
        self.path = path
        self.frames = frames


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


@dataclasses.dataclass
class FieldSummary:
    """The newest sample of one field: its time (unix, s) and its value."""

    newest: float
    value: Any


@dataclasses.dataclass
class FeedSummary:
    """What an archive holds of one feed.

    Attributes:
        address: the feed's address.
        samples: how many times something was measured; each may have a value for every field.
        values: how many values were recorded.
        oldest: time of the first sample (unix, s).
        newest: time of the last one (unix, s).
        fields: the fields by name.
    """

    address: str
    samples: int = 0
    values: int = 0
    oldest: float = float("inf")
    newest: float = float("-inf")
    fields: dict[str, FieldSummary] = dataclasses.field(default_factory=dict)

    @property
    def instance(self) -> str:
        """The instance-id of the agent that publishes the feed."""
        return self.address.partition(".feeds.")[0].rpartition(".")[2]

    @property
    def feed(self) -> str:
        """The feed's name, without the agent's address."""
        return self.address.partition(".feeds.")[2] or self.address

    def add(self, samples: Samples) -> None:
        """Count in the samples of one block."""
        if not len(samples.ticks):
            return
        last = int(samples.ticks.argmax())
        newest = _seconds(samples.ticks[last])
        self.samples += len(samples.ticks)
        self.values += len(samples.ticks) * len(samples.columns)
        self.oldest = min(self.oldest, _seconds(samples.ticks.min()))
        self.newest = max(self.newest, newest)
        for field in samples.columns.keys():  # noqa: SIM118 - spt3g's map, which is no dict
            known = self.fields.get(field)
            if known is None or known.newest <= newest:
                self.fields[field] = FieldSummary(newest, _plain(samples.columns[field][last]))


def _seconds(ticks: Any) -> float:
    whole, rest = divmod(int(ticks), _TICKS_PER_SECOND)
    return whole + rest / _TICKS_PER_SECOND


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    return value if item is None else item()


def archive_files(target: str | os.PathLike[str]) -> list[Path]:
    """Return the ``.g3`` files of a folder and those below it, oldest name first; a file is its own list.

    Raises:
        RecordingError: there is no such file or folder, or no ``.g3`` file in it.
    """
    path = Path(target)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RecordingError(f"There is no file or folder {path}")
    files = sorted(path.rglob("*.g3"), key=lambda file: (file.name, str(file)))
    if not files:
        raise RecordingError(f"There is no .g3 file in {path}: is the aggregator recording, and into this folder?")
    return files


def read_file(path: Path) -> Iterator[Samples]:
    """Read the blocks of a file's data frames.

    Raises:
        DamagedFileError: after the last whole frame of a damaged file.
        RecordingLibraryError: so3g is not installed.
    """
    core, translate = _library()
    count = 0
    try:
        for frame in core.G3File(str(path)):
            for translated in translate(frame):
                yield from _samples(translated)
            count += 1
    except (RuntimeError, KeyError, TypeError, AttributeError, ValueError) as error:
        why = str(error).partition(" (in ")[0]
        raise DamagedFileError(path, count, why) from error


def _samples(frame: Any) -> Iterator[Samples]:
    import numpy as np  # noqa: PLC0415 - only where an archive is read

    if "hkagg_type" not in frame or int(frame["hkagg_type"]) != _DATA:
        return
    address = str(frame["address"])
    for name, block in zip(frame["block_names"], frame["blocks"], strict=False):
        yield Samples(address, str(name), np.asarray(block.times), block)


def _library() -> tuple[Any, Callable[[Any], list[Any]]]:
    try:
        import so3g  # noqa: F401, PLC0415 - makes the spt3g that comes with it importable
        from so3g.hk import HKTranslator  # noqa: PLC0415 - slow to load
        from spt3g import core  # noqa: PLC0415 - slow to load
    except ImportError as error:
        raise RecordingLibraryError.because(error) from error
    return core, HKTranslator()


@contextlib.contextmanager
def quiet_library() -> Iterator[None]:
    """Keep spt3g from writing about damaged files to the terminal by itself."""
    core, _ = _library()
    before = core.G3Logger.global_logger
    core.G3Logger.global_logger = core.G3NullLogger()
    try:
        yield
    finally:
        core.G3Logger.global_logger = before


def summarize(
    files: Iterable[Path],
    *,
    done: Callable[[Path], None] = lambda path: None,  # noqa: ARG005 - nobody watches
) -> tuple[list[FeedSummary], list[DamagedFileError]]:
    """Read files and sum up what they hold.

    Args:
        files: the files; damaged ones are read up to the damage.
        done: called with each file that has been read.

    Returns:
        The feeds, sorted by address, and the damage found.
    """
    feeds: dict[str, FeedSummary] = {}
    damage: list[DamagedFileError] = []
    with quiet_library():
        for path in files:
            try:
                for samples in read_file(path):
                    feeds.setdefault(samples.address, FeedSummary(samples.address)).add(samples)
            except DamagedFileError as error:
                damage.append(error)
            done(path)
    return [feeds[address] for address in sorted(feeds)], damage
