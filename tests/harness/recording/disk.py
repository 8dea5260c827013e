"""Disks that fail: full, slow, taking nothing, or without power before they had written what they were given."""

import contextlib
import errno
import functools
import os
import random
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "shim.c"


class CannotTest(Exception):  # noqa: N818 - no error, but a reason
    """This machine does not permit what a fault needs; says what."""


@functools.cache
def shim_library() -> Path:
    """Compile the shim, once in a process, and return the library."""
    if shutil.which("gcc") is None:
        raise CannotTest("no gcc to compile tests/harness/recording/shim.c")
    # Named for the source, so that it need not be made anew; moved into its place, so that nobody loads half of it.
    library = Path(tempfile.gettempdir()) / f"ocs-shim-{os.getuid()}-{hash(SOURCE.read_bytes()):x}-{os.getpid()}.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


class Shim:
    """What the programs started with `environment` meet when they write below a folder.

    Args:
        folder: only what is below it is concerned.
        directory: for the shim's own files.
    """

    def __init__(self, folder: Path, directory: Path) -> None:
        self.folder = folder
        self._control, self._log = directory / "shim.control", directory / "shim.log"
        self.set()
        self.environment = {
            "LD_PRELOAD": str(shim_library()),
            "SHIM_FOLDER": str(folder),
            "SHIM_CONTROL": str(self._control),
            "SHIM_LOG": str(self._log),
        }

    def set(self, *, write_delay: float = 0.0, sync_delay: float = 0.0, refuse: int = 0) -> None:
        """Let every write and every sync take so many seconds, or be refused with an error number."""
        with self._control.open("r+b" if self._control.exists() else "wb") as file:
            file.write(struct.pack("ddi4x", write_delay, sync_delay, refuse))

    def lose_power(self, chance: random.Random) -> None:
        """Take from every file what was not on the disk yet, or a part of that, or leave zeros in its place."""
        synced = {}
        for line in self._log.read_text().splitlines() if self._log.exists() else ():
            device, inode, size = map(int, line.split())
            synced[device, inode] = size
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                about = path.stat()
                _lose_tail(path, synced.get((about.st_dev, about.st_ino), 0), chance)


def _lose_tail(path: Path, synced: int, chance: random.Random) -> None:
    size = path.stat().st_size
    if size <= synced:
        return
    kept = chance.randint(synced, size)
    os.truncate(path, kept)
    if chance.random() < 0.3:  # file systems may have noted a file's length before its contents
        os.truncate(path, size)


class SmallDisk:
    """A disk of its own at `folder`, which can be filled to the last byte. Unmount it with `close`."""

    def __init__(self, folder: Path, mebibytes: int = 64) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._ballast = folder / "ballast"
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotTest(f"may not mount a small disk: {done.stderr.strip() or 'mount failed'}")

    def fill(self) -> None:
        """Take all the room that is left."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it; what was on it stays in the folder."""
        self.free()
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as place:
            kept = Path(place) / "kept"
            shutil.copytree(self.folder, kept)
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)
            shutil.copytree(kept, self.folder, dirs_exist_ok=True)


@functools.cache
def mounts_permitted() -> bool:
    """Whether small disks can be made here."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            SmallDisk(Path(folder) / "disk", 1).close()
        except (CannotTest, OSError):
            return False
    return True


READ_ONLY, NO_SPACE = errno.EROFS, errno.ENOSPC
