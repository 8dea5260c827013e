"""Frames to files: a new file every so often, and frames kept in memory while the disk does not take them.

Where a frame is going to be is announced before it is written, so that a journal can tell after a crash what has become
of it.
"""

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from ocs.agents.aggregator import frames
from ocs.agents.aggregator.files import FrameFile
from ocs.agents.aggregator.messages import Fault

__all__ = ["MAX_WAITING_BYTES", "EncodedFrame", "G3FileRotator", "PlacedFrame"]

MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Frames that wait for the disk (bytes); beyond it the oldest data frame is dropped and counted."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

FileMaker = Callable[[Callable[[], str | os.PathLike[str]], bytes], FrameFile]


class EncodedFrame(NamedTuple):
    """A frame ready to be written."""

    kind: str
    """``session``, ``status`` or ``data``."""
    content: bytes
    values: int
    """How many recorded values it holds."""
    source: tuple[str, str] | None = None
    """Feed address and session id of its provider, for a data frame."""
    first: int | None = None
    """The journal's number of the first message that is in it."""
    last: int | None = None
    """The journal's number of the last message that is in it."""


class PlacedFrame(NamedTuple):
    """A frame, and where it is, or is about to be."""

    path: str
    offset: int
    """Bytes before it in the file."""
    frame: EncodedFrame


def _nobody(placed: Any) -> None:
    """Take no notice."""


class G3FileRotator:
    """Writes frames to a file and begins a new one every ``time_per_file`` seconds. For one thread only.

    Every file begins with the last session frame and the last status frame. `put` is where a frame is accepted,
    `commit` where it reaches a file. Trouble with the disk raises nothing: frames wait, `trouble` says why, and
    the next `commit` tries again. While a new file cannot be made, the current one goes on.

    Args:
        time_per_file: seconds from the start of a file to the start of the next.
        filename: proposes the path of a new file.
        clock: gives the time (unix, s).
        create: makes the file, and begins it with the given bytes.
        report: called with a `Fault` when frames are dropped.
        max_waiting: how much may wait for the disk (bytes).
        announce: called with frames before they are written; an OSError that it raises keeps them from being written.
        written: called with each frame that has reached its file.
        journalled: whether a journal has what the frames hold, so that none is dropped, not even at the end.

    Attributes:
        journalled: as given.
        current_file: path of the file being written, None while there is none.
        file_start_time: when it was begun (unix, s), None while there is none.
        trouble: one line that says why frames wait, empty when all is well.
        values_written: how many recorded values have reached files.
    """

    def __init__(
        self,
        time_per_file: float,
        filename: Callable[[], str | os.PathLike[str]],
        *,
        clock: Callable[[], float] = time.time,
        create: FileMaker = FrameFile.create,
        report: Callable[[Fault], None] = lambda fault: None,  # noqa: ARG005 - nobody listens
        max_waiting: int = MAX_WAITING_BYTES,
        announce: Callable[[Sequence[PlacedFrame]], None] = _nobody,
        written: Callable[[PlacedFrame], None] = _nobody,
        journalled: bool = False,
    ) -> None:
        self.time_per_file = time_per_file
        self.filename = filename
        self.file_start_time: float | None = None
        self.trouble = ""
        self.values_written = 0
        self._clock = clock
        self._create = create
        self._report = report
        self._max_waiting = max_waiting
        self._announce = announce
        self._written = written
        self.journalled = journalled
        self._announced: tuple[str, int] | None = None
        self._file: FrameFile | None = None
        self._has_content = False
        self._unfit = False
        self._session: EncodedFrame | None = None
        self._status: EncodedFrame | None = None
        self._waiting: deque[EncodedFrame] = deque()
        self._waiting_bytes = 0

    def __call__(self, frame: Any) -> list[Any]:
        """Do the same as `Process`, as a module of a spt3g pipeline."""
        return self.Process(frame)

    def Process(self, frames_in: Any) -> list[Any]:  # noqa: N802 - the name that spt3g modules have
        """Take a frame, or a list of them, and write what can be written.

        Returns:
            The frames, for the next module of a pipeline.
        """
        given = list(frames_in) if isinstance(frames_in, list | tuple) else [frames_in]
        for frame in given:
            kind = frames.frame_kind(frame)
            if kind != "other":
                self.put(EncodedFrame(kind, frames.encode(frame), 0))
        self.commit()
        return given

    @property
    def current_file(self) -> str | None:
        """Path of the file being written, None while there is none."""
        return str(self._file.path) if self._file else None

    @property
    def waiting_bytes(self) -> int:
        """How much waits for the disk (bytes)."""
        return self._waiting_bytes

    @property
    def last_session(self) -> EncodedFrame | None:
        """The session frame that every file begins with."""
        return self._session

    @property
    def last_status(self) -> EncodedFrame | None:
        """The status frame that a new file would begin with."""
        return self._status

    def put(self, frame: EncodedFrame) -> None:
        """Accept a frame; it is written by the next `commit`, or kept until one succeeds."""
        if frame.kind == "session":
            self._session = frame
            if self._file is None:
                return  # it is what the file will begin with
        self._waiting.append(frame)
        self._waiting_bytes += len(frame.content)
        while self._waiting_bytes > self._max_waiting and not self.journalled:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        frame = self._next()
        if frame.kind == "data":
            self._report(Fault("disk", frame.values, f"a frame of {frame.values} values is given up; {self.trouble}"))

    def _next(self) -> EncodedFrame:
        """Take the oldest frame off the queue, noting the state of affairs it describes."""
        frame = self._waiting.popleft()
        self._waiting_bytes -= len(frame.content)
        if frame.kind == "status":
            self._status = frame
        return frame

    def due(self) -> bool:
        """Tell whether it is time for the next file: the current one is old enough, with more than its head in it."""
        if self._file is None or self.file_start_time is None:
            return False
        old = self._clock() - self.file_start_time >= self.time_per_file
        return self._unfit or (old and self._has_content)

    def commit(self) -> bool:
        """Write the frames that wait, beginning a file where one is missing or due.

        Returns:
            True if everything is in a file and nothing is wrong.
        """
        self.trouble = ""
        if self._file and self._file.removed():
            self._report(Fault("disk", 0, f"{self.current_file} was deleted while it was being written"))
            self._close_current()
        if self._file is None or self.due():
            self._guarded(self._begin, "no new file can be made")
        self.flush()
        return not self.trouble

    def flush(self) -> None:
        """Write the frames that wait to the current file; what is in it is visible to readers at once."""
        if self._file:
            self._guarded(self._append_waiting, "cannot write")

    def _guarded(self, action: Callable[[], None], failure: str) -> None:
        try:
            action()
        except OSError as error:
            place = error.filename or self.current_file
            self.trouble = self.trouble or f"{failure}: {error.strerror or error} ({place})"

    def _append_waiting(self) -> None:
        if self._waiting and self._file:
            self._announce_waiting(self._file)
        while self._waiting and self._file:
            frame = self._waiting[0]
            try:
                self._append(self._file, frame)
            except OSError as error:
                # Room may come back; any other trouble may be this file's alone.
                self._unfit = error.errno not in _NO_ROOM
                raise
            self._next()
            self._has_content = True
            self.values_written += frame.values

    def _append(self, file: FrameFile, frame: EncodedFrame) -> None:
        offset = file.size
        file.append(frame.content)
        self._written(PlacedFrame(str(file.path), offset, frame))

    def _announce_waiting(self, file: FrameFile) -> None:
        """Announce the frames that wait, once for each place: a disk that is full is tried again and again."""
        place = str(file.path), file.size + self._waiting_bytes
        if place != self._announced:
            self._announce(_placed(str(file.path), file.size, self._waiting))
            self._announced = place

    def _begin(self) -> None:
        """Begin a file: it replaces the current one only once its first frames are in it."""
        if self._status is None and self._waiting and self._waiting[0].kind == "status":
            self._next()
        head = [frame for frame in (self._session, self._status) if frame is not None]
        new = self._create(self.filename, b"".join(frame.content for frame in head))
        for placed in _placed(str(new.path), 0, head):
            self._written(placed)
        self._close_current()
        self._file, self.file_start_time = new, self._clock()
        self._has_content = self._unfit = False

    def _close_current(self) -> None:
        file, self._file, self.file_start_time = self._file, None, None
        if file is None:
            return
        try:
            file.close()
        except OSError as error:
            self._report(Fault("disk", 0, f"{file.path} could not be brought to the disk: {error.strerror}"))

    def sync(self) -> None:
        """Bring what is in the current file safely to the disk; files before it are there already.

        Raises:
            OSError: the disk reports an error.
        """
        if self._file:
            self._file.sync()

    @property
    def first_waiting(self) -> int | None:
        """The journal's number of the first message that is in a frame which waits."""
        return min((frame.first for frame in self._waiting if frame.first is not None), default=None)

    def close_file(self) -> None:
        """Write what waits and close the file.

        What the disk does not take stays in the journal; without one it is dropped and reported.
        """
        self.commit()
        while self._waiting and not self.journalled:
            self._drop_oldest()
        self._close_current()


def _placed(path: str, offset: int, frames: Iterable[EncodedFrame]) -> list[PlacedFrame]:
    """Return where frames are going to be that are written one after the other."""
    placed = []
    for frame in frames:
        placed.append(PlacedFrame(path, offset, frame))
        offset += len(frame.content)
    return placed
