"""Files that hold whole frames and nothing else: made new, never overwritten, cut back when a write fails."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

__all__ = ["FrameFile", "check_folder", "make_filename"]

_MODE: Final = 0o664
_TRIES: Final = 1000
_SUFFIX: Final = ".g3"
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
"""What file systems answer that have no second names for files."""


def make_filename(
    base_dir: str | os.PathLike[str], make_subdirs: bool = True, *, clock: Callable[[], float] = time.time
) -> str:
    """Return a name for a file that starts now: ``{base_dir}/{first 5 digits of the time}/{time}.g3``.

    A second that already has its file is passed over for the next one that has none.

    Args:
        base_dir: the data folder.
        make_subdirs: make the folders that are missing.
        clock: gives the time (unix, s).

    Returns:
        The path of a file that does not exist yet.

    Raises:
        OSError: a folder cannot be made.
    """
    start = int(clock())
    path = next(path for path in _paths(Path(base_dir), start) if not path.exists())
    if make_subdirs:
        path.parent.mkdir(parents=True, exist_ok=True)
    return str(path)


def _paths(base_dir: Path, start: int) -> Iterator[Path]:
    while True:
        yield base_dir / f"{start:05d}"[:5] / f"{start}{_SUFFIX}"
        start += 1


def check_folder(folder: str | os.PathLike[str]) -> str:
    """Make the folder if it is missing and find out whether files can be made in it.

    Returns:
        An empty text, or one line that says what is wrong and what to do.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"The data folder {path} cannot be made ({error.strerror}): choose another with --data-dir"
    if not os.access(path, os.W_OK | os.X_OK):
        return f"The data folder {path} is not writable by this user: change its owner, or choose another"
    return ""


class FrameFile:
    """A file being written, frame by frame, each with one system call.

    Use `create`; the constructor takes a descriptor that is open for writing at ``size``.

    Attributes:
        path: where the file is.
        size: its length (bytes): whole frames, nothing else.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor
        self._torn = False

    @classmethod
    def create(cls, filename: Callable[[], str | os.PathLike[str]], head: bytes = b"") -> Self:
        """Make a new file under a name that nobody else has; it has the name once its head is on the disk.

        Args:
            filename: proposes a path; asked again, and then numbered (``_01``), when a file of that name exists.
            head: the whole frames that it begins with.

        Raises:
            OSError: no file can be made there.
        """
        path = Path(filename())
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, _MODE)
        file = cls(draft, descriptor)
        try:
            file.append(head)
            file.sync()
            file._take_name(_named(draft, path, filename))
        except BaseException:
            file.discard()
            raise
        return file

    def _take_name(self, path: Path) -> None:
        """Go on under the final name, so that whoever looks which files are open finds that one."""
        draft, self.path = self._descriptor, path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.close(draft)
        _sync_folders(path.parent, path.parent.parent)

    def append(self, frame: bytes) -> None:
        """Write one whole frame at the end.

        Raises:
            OSError: the frame could not be written; it is not in the file, not even in part.
        """
        self._cut_tail()
        self._torn = True
        rest = memoryview(frame)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # A disk that refuses even this is asked again before the next frame.
            with contextlib.suppress(OSError):
                self._cut_tail()
            raise
        self._torn = False
        self.size += len(frame)

    def _cut_tail(self) -> None:
        if self._torn:
            os.ftruncate(self._descriptor, self.size)
            self._torn = False

    def sync(self) -> None:
        """Bring what has been written safely to the disk.

        Raises:
            OSError: the disk reports an error.
        """
        os.fdatasync(self._descriptor)

    def removed(self) -> bool:
        """Tell whether somebody has deleted the file while it was being written."""
        return os.fstat(self._descriptor).st_nlink == 0

    def close(self) -> None:
        """Bring the file safely to the disk and close it.

        Raises:
            OSError: the disk reports an error for something written before; the file is closed all the same.
        """
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def discard(self) -> None:
        """Close the file and delete it."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _named(draft: Path, path: Path, filename: Callable[[], str | os.PathLike[str]]) -> Path:
    """Give a file its name, or another if somebody has that."""
    for number in range(_TRIES):
        if number:
            path = Path(filename())
            path = path.with_name(f"{path.stem}_{number:02d}{path.suffix}") if path.exists() else path
        try:
            _rename(draft, path)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{_TRIES} files named like {path} exist already")


def _rename(draft: Path, path: Path) -> None:
    """Rename a file, but never over another.

    Raises:
        FileExistsError: there is another.
    """
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in _NO_LINKS or path.exists():
            raise
        os.rename(draft, path)  # noqa: PTH104 - beside `link`
    else:
        os.unlink(draft)  # noqa: PTH108 - beside `link`


def _sync_folders(*folders: Path) -> None:
    """Bring the names in folders to the disk: a new file, and the folder that was made for it, are there for good."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
