"""What an agent keeps on the disk: a folder a run, the list of its recorders, and a bound on all of it.

Everything here waits for the disk, and so runs in the worker's thread (`worker`); `view` is for all threads.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from errno import ENOSPC
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from ocs.errors import JournalError, JournalInUseError
from ocs.keep.memory import Keep, Kept, weight
from ocs.keep.run import SEGMENT_BYTES, RunOnDisk, write_json

__all__ = ["DISK_BYTES", "DiskKeep", "RunView", "Stored"]

DISK_BYTES = 2 << 30
"""How much an agent keeps on the disk, in bytes."""

_BATCH_BYTES = 4 << 20
_SCAN_BYTES = 32 << 20
"""How much one fetch reads, in bytes."""
_LEAVE_FREE = 0.05
"""What part of the disk stays free of what is kept."""
_OLD_S = 7 * 86_400.0
_SETTLED_S = 3600.0
"""How long an agent has to run before the time of day is believed: it may be wrong at the start of a computer."""
_SYNC_S = 0.5
"""How much time is between two syncs, at least: one disk may have many agents."""
_LEAST_SEGMENT = 64 << 10
_END = 1 << 64
"""Above every number."""


class RunView(NamedTuple):
    """An earlier run, as it is told to recorders: the first number and the one after the last, and what was lost."""

    range: tuple[int, int]
    lost: list[list[Any]]


class Stored(NamedTuple):
    """What an earlier life of the agent left.

    Attributes:
        recorders: id to (how often it means to call in seconds, how long ago it last did); None if the list cannot be
            read though there should be one.
    """

    recorders: dict[str, tuple[float, float]] | None


class DiskKeep:
    """The folder of one agent.

    Args:
        folder: the folder; it is made when there is something to write.
        keep: what is in memory, of the run that goes on.
        limit: how much may be there, in bytes.

    Attributes:
        view: run to what is there of it, of earlier runs; replaced as a whole.
        dropped: how many messages of earlier runs, and of this one, have been given up here.
        notes: what the operator should know, a line each; whoever logs them takes them out.
        floors: run to the number below which all recorders have everything; None where there is no recorder.
    """

    def __init__(self, folder: Path, keep: Keep, *, limit: int = DISK_BYTES) -> None:
        self.view: dict[str, RunView] = {}
        self.dropped = 0
        self.notes: list[str] = []
        self.floors: Mapping[str, int | None] = {}
        self._folder = folder
        self._keep = keep
        self._limit = limit
        self._segment_bytes = max(_LEAST_SEGMENT, min(SEGMENT_BYTES, limit // 8))
        self._runs: dict[str, RunOnDisk] = {}
        self._current = RunOnDisk(folder / keep.run, segment_bytes=self._segment_bytes)
        self._in_use: list[str] = []
        self._useless: set[str] = set()
        self._ceiling: int | None = None
        self._began = time.monotonic()

    # The start

    def load(self) -> Stored:
        """Find what there is of earlier runs.

        Raises:
            OSError: the folder cannot be read.
        """
        self.look_again()
        return Stored(self._read_recorders())

    def look_again(self) -> None:
        """Take in runs that are new to us: another process had them in use, or wrote them since.

        Raises:
            OSError: the folder cannot be read.
        """
        try:
            with os.scandir(self._folder) as found:
                names = {entry.name for entry in found if entry.is_dir() and _is_run(entry.name)}
        except FileNotFoundError:
            names = set()
        fresh = names - self._runs.keys() - self._useless - {self._keep.run}
        self._in_use = [name for name in sorted(fresh, key=_age_order) if not self._take_in(name)]
        self._runs = dict(sorted(self._runs.items(), key=lambda item: _age_order(item[0])))
        self._refresh()

    @property
    def waits_for_others(self) -> bool:
        """Whether another process has a run in use."""
        return bool(self._in_use)

    def _take_in(self, name: str) -> bool:
        """Take a run in if there is anything of use in it; return False if another process has it in use."""
        try:
            run = RunOnDisk(self._folder / name, segment_bytes=self._segment_bytes)
        except JournalInUseError:
            return False
        except JournalError as error:
            self.notes.append(f"what is kept of an earlier run cannot be used: {error}")
            self._useless.add(name)
            return True
        if run.range is None and not len(run.lost):
            run.delete()
        else:
            self._runs[name] = run
        return True

    def _read_recorders(self) -> dict[str, tuple[float, float]] | None:
        try:
            known = json.loads((self._folder / "recorders.json").read_bytes())
            now = time.time()
            return {str(name): (float(every), max(0.0, now - float(last))) for name, (every, last) in known.items()}
        except FileNotFoundError:
            return None if self._runs else {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            self.notes.append(f"the list of recorders in {self._folder} cannot be read: {error}")
            return None

    def save_recorders(self, silent: Mapping[str, tuple[float, float]]) -> None:
        """Write the list of recorders: id to (how often it means to call, how long it has been silent), in seconds.

        Raises:
            OSError: it cannot be written.
        """
        now = time.time()
        known = {name: (every, now - age) for name, (every, age) in silent.items()}
        write_json(self._folder / "recorders.json", known)

    # Writing

    def save(self, below: int) -> None:
        """Bring to the disk what is in memory alone.

        Args:
            below: the number that ends it.

        Raises:
            OSError: the disk takes nothing.
            JournalError: the folder cannot be used.
        """
        while batch := self._keep.batch(below, _BATCH_BYTES):
            self._make_room(sum(map(weight, batch)))
            try:
                self._current.append(batch)
            finally:
                self._keep.stored(self._current.range)
        self.sync()

    def sync(self) -> None:
        """Bring what is written to the disk, if it is time to.

        Raises:
            OSError: the disk does not take it.
        """
        self._current.sync(pause=_SYNC_S)

    @property
    def unsynced(self) -> bool:
        """Whether something is written that the power could take."""
        return self._current.unsynced

    def _make_room(self, size: int) -> None:
        used = self._used()
        limit = min(self._limit, self._allowed(used))
        while used + size > limit:
            self._drop_oldest(size)
            used = self._used()

    def _used(self) -> int:
        return self._current.size + sum(run.size for run in self._runs.values())

    def _allowed(self, used: int) -> int:
        """Return how much may be there so that the last part of the disk stays free.

        While it is not free, by what others have written, we do not grow.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(self._folder)
        spare = int((disk.f_bavail - _LEAVE_FREE * disk.f_blocks) * disk.f_frsize)
        if spare > 0:
            self._ceiling = None
            return used + spare
        if self._ceiling is None:
            self._ceiling = used
        return self._ceiling

    def _drop_oldest(self, needed: int) -> None:
        for run in [*self._runs.values(), self._current]:
            if gone := run.drop_oldest():
                self._given_up(run, gone)
                return
        raise OSError(ENOSPC, f"no room for {needed} bytes within the bounds of what may be kept", str(self._folder))

    def _given_up(self, run: RunOnDisk, gone: Sequence[Kept]) -> None:
        floor = self._floor(run)
        wanted = [kept for kept in gone if kept.parcel.number >= floor]
        self.dropped += len(wanted)
        if run is self._current:
            self._keep.stored(run.range)
            self._keep.lose(wanted, gone[-1].parcel.number + 1)
        else:
            run.give_up(wanted)
            run.save_lost()
            self._refresh()

    def _floor(self, run: RunOnDisk) -> int:
        floor = self.floors.get(run.name, 0)
        return _END if floor is None else floor

    # Tidying

    def tidy(self) -> None:
        """Delete what all recorders have.

        Raises:
            OSError: it cannot be deleted, or a list of what is lost cannot be written.
        """
        for run in list(self._runs.values()):
            self._tidy_run(run)
            if run.range is None and not len(run.lost):
                run.delete()
                del self._runs[run.name]
        self._refresh()
        self._current.drop_before(self._floor(self._current))
        self._keep.stored(self._current.range)
        self._current.save_lost(*self._keep.lost_state())

    def _tidy_run(self, run: RunOnDisk) -> None:
        floor = self._floor(run)
        run.drop_before(floor)
        run.lost.pass_over(floor)
        if self._settled and run.age > _OLD_S:
            self._drop_old(run, floor)
        run.save_lost()

    @property
    def _settled(self) -> bool:
        return time.monotonic() - self._began > _SETTLED_S

    def _drop_old(self, run: RunOnDisk, floor: int) -> None:
        if run.range is None:  # what was lost has been offered for as long again
            run.lost.pass_over(_END)
            return
        gone = list(run.read(floor))
        self.dropped += len(gone)
        self.notes.append(f"gave up {len(gone)} messages of the run {run.name}: no recorder took them for 7 days")
        run.give_up(gone)
        run.drop_before(_END)

    def _refresh(self) -> None:
        self.view = {name: _view(run) for name, run in self._runs.items()}

    # Reading

    def fetch(self, name: str, start: int, since: float, limit: int) -> tuple[list[Kept], int]:
        """Return messages in a row of a run, from a number on.

        Args:
            name: the run.
            start: the number.
            since: leave out what was published before, unix s.
            limit: how many bytes they may have; at least one message comes if there is one.

        Returns:
            The messages, and the number after the last one looked at.

        Raises:
            OSError: they cannot be read.
        """
        run = self._current if name == self._keep.run else self._runs.get(name)
        if run is None or run.range is None or start >= run.range[1]:
            return [], start
        end, scanned, chosen = run.range[1], 0, list[Kept]()
        before = None
        for kept in takewhile(lambda kept: kept.parcel.number < end, run.read(start)):
            if before is not None and run.damaged:
                self._note_damage(run, before, kept)
            before = kept
            scanned += weight(kept)
            if kept.when >= since:
                limit -= weight(kept)
                if limit < 0 and chosen:
                    return chosen, kept.parcel.number
                chosen.append(kept)
            if scanned > _SCAN_BYTES:
                return chosen, kept.parcel.number + 1
        return chosen, end

    def _note_damage(self, run: RunOnDisk, before: Kept, after: Kept) -> None:
        """Enter what lacks between two messages in the list of what is lost."""
        first, end = before.parcel.number + 1, after.parcel.number
        if first == end:
            return
        if run is self._current:
            fresh = self._keep.miss(first, end, before.when, after.when)
        else:
            fresh = run.lost.miss(first, end, before.when, after.when)
            run.save_lost()
            self._refresh()
        if fresh:
            self.notes.append(f"{end - first} messages cannot be read: {'; '.join(run.damaged)[:500]}")

    def close(self) -> None:
        """Let others have the folder."""
        self._current.rest()


def _view(run: RunOnDisk) -> RunView:
    lost = run.lost.encoded()
    end = max((after for _, after, *_ in lost), default=0)
    first, following = run.range or (end, end)
    return RunView((first, max(following, end)), lost)


def _is_run(name: str) -> bool:
    """Tell an agent's run, which has its start for a name, from other things that the agent keeps in its folder."""
    return _age_order(name)[0] > 0


def _age_order(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return 0.0, name
