"""The file of observing modes as it is now: read again when it has changed, the last good reading kept."""

from pathlib import Path

from ocs.agents.sequence_manager.obs_modes import ObsModes, read
from ocs.errors import ObsModeError

__all__ = ["ModesFile"]


class ModesFile:
    """The modes of a file; `refresh` is for threads.

    Args:
        path: the file.

    Raises:
        ObsModeError: it has a mistake at the beginning.

    Attributes:
        modes: those of the last good reading.
        trouble: what is wrong with the file now; None: nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: str | None = None
        self._seen = self._stamp()
        self.modes: ObsModes = read(path)

    def refresh(self) -> bool:
        """Read the file if it has changed; return whether it has."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.modes, self.trouble = read(self.path), None
        except ObsModeError as error:
            self.trouble = f"{error} (its last good reading is in force)"
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
