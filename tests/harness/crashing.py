"""A disk on which a process dies at a chosen moment, in this process: every call that changes the disk is counted."""

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_CHANGES = (
    "write", "writev", "pwrite", "pwritev", "ftruncate", "fsync", "fdatasync", "open", "unlink", "rename", "replace",
    "link", "rmdir",
)  # fmt: skip


class Crash(BaseException):
    """The moment of death. Not an `Exception`: nobody may go on after it."""


class CrashingDisk:
    """Lets calls through to the disk below a folder until the chosen one, at which `Crash` is raised.

    Args:
        folder: what is watched.
        at: number of the call at which to die, from 0; a write dies half done.
        rng: gives the size of what a power cut leaves of what was not synced.

    Attributes:
        calls: how many there were.
    """

    def __init__(self, folder: Path, at: float, rng: random.Random) -> None:
        self.folder = str(folder)
        self.at = at
        self.calls = 0
        self.rng = rng
        self._synced: dict[int, int] = {}  # by inode: names change
        self._named: set[str] = {str(path) for path in folder.rglob("*")}
        self._true = {name: getattr(os, name) for name in _CHANGES}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count, and die, in here. What the dead held open is closed at the end, as the system does it."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CHANGES:
                patch.setattr(os, name, getattr(self, f"_{name}", None) or self._counted(name))
            yield
        self.release()

    def release(self) -> None:
        """Close what is open below the folder."""
        for link in list(Path("/proc/self/fd").iterdir()):
            with contextlib.suppress(OSError):
                if str(link.readlink()).startswith(self.folder):
                    os.close(int(link.name))

    def _counted(self, name: str) -> Any:
        def call(*args: Any, **keywords: Any) -> Any:
            path = args[0] if isinstance(args[0], str | os.PathLike) else self._path(args[0])
            self._tick(str(path))
            return self._true[name](*args, **keywords)

        return call

    def _path(self, fd: int) -> str:
        return str(Path(f"/proc/self/fd/{fd}").readlink())

    def _tick(self, path: str) -> None:
        if not path.startswith(self.folder):
            return
        if self.calls == self.at:
            self.at = float("inf")
            raise Crash
        self.calls += 1

    def _open(self, path: Any, flags: int, *args: Any, **keywords: Any) -> int:
        if flags & (os.O_CREAT | os.O_TRUNC):
            self._tick(str(path))
        fd: int = self._true["open"](path, flags, *args, **keywords)
        return fd

    def _write(self, fd: int, data: Any) -> int:
        try:
            self._tick(self._path(fd))
        except Crash:
            half = memoryview(data).cast("B")
            self._true["write"](fd, half[: self.rng.randrange(len(half) + 1)])
            raise
        written: int = self._true["write"](fd, data)
        return written

    def _writev(self, fd: int, buffers: Any) -> int:
        return self._write(fd, b"".join(bytes(part) for part in buffers))

    def _pwritev(self, fd: int, buffers: Any, offset: int) -> int:
        data = b"".join(bytes(part) for part in buffers)
        try:
            self._tick(self._path(fd))
        except Crash:
            self._true["pwrite"](fd, data[: self.rng.randrange(len(data) + 1)], offset)
            raise
        written: int = self._true["pwrite"](fd, data, offset)
        return written

    def _rename(self, old: Any, new: Any, **keywords: Any) -> None:
        self._tick(str(new))
        self._true["rename"](old, new, **keywords)
        self._named.discard(str(new))

    _replace = _rename

    def _link(self, old: Any, new: Any, **keywords: Any) -> None:
        self._tick(str(new))
        self._true["link"](old, new, **keywords)

    def _fsync(self, fd: int) -> None:
        path = self._path(fd)
        self._tick(path)
        self._true["fsync"](fd)
        if Path(path).is_dir():
            self._named.update(map(str, Path(path).iterdir()))
        else:
            self._synced[os.fstat(fd).st_ino] = os.fstat(fd).st_size

    _fdatasync = _fsync

    def _ftruncate(self, fd: int, size: int) -> None:
        path = self._path(fd)
        self._tick(path)
        self._true["ftruncate"](fd, size)
        inode = os.fstat(fd).st_ino
        self._synced[inode] = min(self._synced.get(inode, 0), size)

    def cut_power(self) -> None:
        """Take back what has not been synced: the ends of files, in part, and files whose name nobody made sure of."""
        for path in sorted(Path(self.folder).rglob("*")):
            if not path.is_file():
                continue
            if str(path) not in self._named and self.rng.random() < 0.5:
                path.unlink()
                continue
            size, safe = path.stat().st_size, self._synced.get(path.stat().st_ino, 0)
            if size > safe:
                os.truncate(path, self.rng.randint(safe, size))
