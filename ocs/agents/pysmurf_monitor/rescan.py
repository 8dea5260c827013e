"""Finds files that were announced while nobody listened, by looking through a folder."""

import fcntl
import itertools
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol

from ocs.agents.pysmurf_monitor.lookup import Lookup
from ocs.agents.pysmurf_monitor.messages import Announcement, RefusedError, parse

__all__ = ["Found", "Progress", "Rescan", "Sink", "datagram_for", "is_being_written", "remote_of"]

CHUNK = 500
"""So many files are handed on at a time."""
ROOM_WAIT = 0.5
"""How often (s) to look whether to go on, while there is no room."""
TELL_EVERY = 5.0
"""How often (s) progress is told."""
FRESH = 600.0
"""A file that has not been changed for so long (s) is not being written any more."""
QUIET = 30.0
"""The same where the system cannot be asked who has it open."""
MOST_EXAMPLES = 5

_OUTPUT = re.compile(r"(?P<id>[^/]+)/(?P<ctime>\d{9,11})/(?P<kind>outputs|plots)/[^/]+")
_TIMESTREAM = re.compile(r"(?P<id>[^/]+)/[^/]+\.g3")
_CTIME = re.compile(r"(\d{9,11})(?:\D|$)")


class Found(NamedTuple):
    """A file that was found: where, and when it was changed (unix s)."""

    path: str
    changed: float


def datagram_for(found: Found, action: str) -> dict[str, Any] | None:
    """Return the announcement that a publisher would have made of a file; None if it is none of those it makes.

    Args:
        found: the file.
        action: the action that is taken to have made it.
    """
    parts = "/".join(found.path.rsplit("/", 4)[1:])
    if match := _OUTPUT.fullmatch(parts):
        begin = int(match["ctime"])
        payload = {"action": action, "action_ts": begin, "plot": match["kind"] == "plots", "archive_name": "smurf"}
    elif match := _TIMESTREAM.fullmatch("/".join(found.path.rsplit("/", 2)[1:])):
        payload = {"archive_name": "timestreams"}
    else:
        return None
    kind = "data_file" if payload["archive_name"] == "smurf" else "g3_file"
    file = {"path": found.path, "timestamp": _time_of(found), "format": PurePath(found.path).suffix[1:]}
    return {"id": match["id"], "time": found.changed, "type": kind, "payload": {**file, **payload}}


def remote_of(found: Found, folders: Iterable[str]) -> str | None:
    """Return where a file goes, if others of its output folder are in the table already.

    A folder holds the files of several actions: it is the last one that had begun at the file's time.

    Args:
        found: the file.
        folders: the remote folders of those others, ``.../{action_ts}_{action}/{outputs or plots}``.
    """
    begun = sorted((_begin(folder), folder) for folder in folders)
    if not begun:
        return None
    earlier = [folder for begin, folder in begun if begin <= _time_of(found)]
    return f"{earlier[-1] if earlier else begun[0][1]}/{found.path.rpartition('/')[2]}"


def _time_of(found: Found) -> float:
    """Return when a file was made (unix s): pysmurf has it in the name; else when it was changed."""
    stamp = _CTIME.match(found.path.rpartition("/")[2])
    return float(stamp[1]) if stamp else found.changed


def _begin(remote_folder: str) -> float:
    action = remote_folder.split("/")[-2] if "/" in remote_folder else ""
    digits = action.partition("_")[0]
    return float(digits) if digits.isdecimal() else 0.0


def is_being_written(path: str, changed: float, now: float) -> bool:
    """Tell whether a file is not complete yet: somebody has it open to write.

    Args:
        path: the file.
        changed: when it was changed (unix s).
        now: the time (unix s).
    """
    if now - changed > FRESH:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # whoever hashes it will say what is wrong
    try:
        # The system grants this to nobody while somebody has the file open to write; closing gives it back.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # not our file, or not such a disk
        return now - changed < QUIET
    finally:
        os.close(descriptor)
    return False


class Sink(Protocol):
    """Takes in what is found."""

    @property
    def idle(self) -> bool:
        """Whether nothing is in work."""

    def wait_for_room(self, timeout: float, wanted: int) -> bool:
        """Wait until so many files would be taken in; return whether they would."""

    def put(self, announcements: Sequence[Announcement]) -> None:
        """Take files in."""


@dataclass(slots=True)
class Progress:
    """How far a search has come, in files."""

    path: str
    found: int = 0
    known: int = 0
    announced: int = 0
    being_written: int = 0
    refused: int = 0
    skipped: int = 0
    folder: str = ""

    def told(self) -> str:
        """Return it as a sentence."""
        return (
            f"{self.found} files: {self.announced} new, {self.known} known, {self.being_written} being written,"
            f" {self.refused} refused, {self.skipped} that no publisher announces"
        )


class Rescan:
    """One search. Its `run` is for a thread.

    Args:
        path: the folder, already checked.
        since: files that were changed before (unix s) are left out.
        action: the action that is taken to have made files of which nothing else is known.
        rows: tells which of some files are in the table, with their remote paths.
        sink: takes in what is new.
        stopped: tells that it is to end.
        tell: takes a line for the operator.
        on_progress: takes the progress, as session.data is to have it.
        clock: the time of day (unix s).
        steady: another clock (s).

    Attributes:
        progress: how far it has come.
        examples: of what was skipped or refused, a line each.
    """

    def __init__(
        self,
        path: str,
        since: float,
        action: str,
        *,
        rows: Lookup,
        sink: Sink,
        stopped: Callable[[], bool],
        tell: Callable[[str], None],
        on_progress: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress = Progress(path)
        self.examples: list[str] = []
        self._since = since
        self._action = action
        self._rows = rows
        self._sink = sink
        self._stopped = stopped
        self._tell = tell
        self._on_progress = on_progress
        self._clock = clock
        self._steady = steady
        self._told = steady()
        self._output = ""
        self._remote_folders: set[str] = set()

    def run(self) -> bool:
        """Look through the folder; return whether it came to the end."""
        try:
            return self._search()
        finally:
            self._on_progress(self.encoded())

    def _search(self) -> bool:
        if not self._wait(lambda: self._sink.wait_for_room(ROOM_WAIT, 1)):
            return False
        for folder, files in walk(self.progress.path):
            self.progress.folder = folder
            for chunk in _chunks(self._learned(folder, files)):
                if not self._hand_on(chunk):
                    return False
            if self._stopped():
                return False
        return self._wait(lambda: self._sink.idle)

    def _learned(self, folder: str, files: Iterable[Found]) -> Iterator[Found]:
        """Yield the files of a folder that are new, after having learnt from those that are known."""
        output = folder.rpartition("/")[0]
        if output != self._output:
            self._output, self._remote_folders = output, set()
        new: list[Found] = []
        for chunk in _chunks(found for found in files if found.changed >= self._since):
            rows = self._rows([found.path for found in chunk])
            self.progress.found += len(chunk)
            self.progress.known += len(rows)
            self._remote_folders |= {remote.rpartition("/")[0].rpartition("/")[0] for remote in rows.values()}
            new += [found for found in chunk if found.path not in rows]
            self._tell_progress()
        yield from new

    def _hand_on(self, chunk: Sequence[Found]) -> bool:
        announcements = [found for each in chunk if (found := self._announcement(each))]
        if announcements:
            if not self._wait(lambda: self._sink.wait_for_room(ROOM_WAIT, len(announcements))):
                return False
            self._sink.put(announcements)
        self.progress.announced += len(announcements)
        self._tell_progress()
        return not self._stopped()

    def _announcement(self, found: Found) -> Announcement | None:
        datagram = datagram_for(found, self._action)
        if datagram is None:
            self.progress.skipped += 1
            return None
        if is_being_written(found.path, found.changed, self._clock()):
            self.progress.being_written += 1
            return None
        try:
            announcement = parse(json.dumps(datagram).encode())
        except RefusedError as error:
            self._refused(found, error)
            return None
        if not isinstance(announcement, Announcement):
            return None
        return replace(announcement, remote_path=self._remote_path(found, announcement))

    def _remote_path(self, found: Found, announcement: Announcement) -> str:
        if announcement.archive_name != "smurf":
            return announcement.remote_path
        kind = announcement.remote_path.split("/")[-2]
        return remote_of(found, (f"{folder}/{kind}" for folder in self._remote_folders)) or announcement.remote_path

    def _refused(self, found: Found, error: RefusedError) -> None:
        self.progress.refused += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{found.path!a}: {error}")

    def _wait(self, condition: Callable[[], bool]) -> bool:
        """Wait for something; return False if the search is to end before."""
        while not condition():
            if self._stopped():
                return False
            self._tell_progress()
            time.sleep(0.05)
        return True

    def _tell_progress(self) -> None:
        self._on_progress(self.encoded())
        if self._steady() - self._told >= TELL_EVERY:
            self._told = self._steady()
            self._tell(f"{self.progress.told()}; now in {self.progress.folder}")

    def encoded(self) -> dict[str, Any]:
        """Return the progress as session.data has it."""
        return {**asdict(self.progress), "examples": list(self.examples)}


def walk(top: str) -> Iterator[tuple[str, Iterator[Found]]]:
    """Yield all folders below one, with their files, in the order of their names; no link is followed."""
    for folder, folders, names in os.walk(top):
        folders.sort()
        yield folder, _files(folder.rstrip("/"), sorted(names))


def _files(folder: str, names: Iterable[str]) -> Iterator[Found]:
    for name in names:
        path = f"{folder}/{name}"
        with suppress(OSError):  # gone meanwhile, or not for us to see
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and not name.startswith("."):
                yield Found(path, status.st_mtime)


def _chunks(files: Iterable[Found]) -> Iterator[list[Found]]:
    source = iter(files)
    while chunk := list(itertools.islice(source, CHUNK)):
        yield chunk
