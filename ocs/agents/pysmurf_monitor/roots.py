"""In which folders files may be entered, whatever anybody announces."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

__all__ = ["DEFAULT_ROOTS", "Roots"]

DEFAULT_ROOTS: Final = ("/data/smurf_data", "/data/so/timestreams", "/data/timestreams")
"""Where SMuRF servers keep their data."""
LOOK_AGAIN: Final = 1.0
"""So often at most (s) to look whether a root leads elsewhere by now."""


class Roots:
    """The folders in which files are allowed, and what is forbidden even there. Any thread.

    Two questions: `refuses` is about a path as it was announced, `allows` about where a file really is. Both have to be
    asked, since a link below a root can lead anywhere, and a path from outside can lead in.

    Args:
        roots: the folders; None allows all.
        forbidden: files and folders that are never allowed, such as the transfer database itself.
        steady: a clock, in seconds.

    Attributes:
        roots: the folders, absolute; None if all are allowed.
    """

    def __init__(
        self,
        roots: Sequence[str] | None,
        forbidden: Sequence[str] = (),
        *,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.roots = None if roots is None else tuple(os.path.abspath(root) for root in roots)  # noqa: PTH100 - text
        self._forbidden = tuple(os.path.abspath(path) for path in forbidden)  # noqa: PTH100 - text all the way
        self._steady = steady
        self._lock = threading.Lock()
        self._resolve()

    def _resolve(self) -> None:
        """Find out where roots and forbidden files really are: it can be a link, which can change."""
        self._resolved = self._steady()
        real = None if self.roots is None else [os.path.realpath(root) for root in self.roots]
        forbidden = _both(self._forbidden)
        self._real = _prefixes(real)
        self._lexical = _prefixes(None if self.roots is None or real is None else [*self.roots, *real])
        self._forbidden_paths = frozenset(forbidden)
        self._forbidden_folders = _prefixes(forbidden) or ()

    def refuses(self, path: str) -> str:
        """Return the reason why a file is not entered by its path alone, or "". Asks no disk.

        Args:
            path: as it was announced: absolute, without ``..``.
        """
        if self._lexical is not None and not path.startswith(self._lexical):
            return "outside_roots"
        return "forbidden" if self._is_forbidden(path) else ""

    def allows(self, real_path: str) -> bool:
        """Tell whether a file or folder may be entered, or looked through, where it really is.

        Args:
            real_path: absolute, without links in it.
        """
        if self._is_forbidden(real_path):
            return False
        return self._is_inside(real_path) or (self._look_again() and self._is_inside(real_path))

    def _is_inside(self, real_path: str) -> bool:
        return self._real is None or real_path.startswith(self._real) or f"{real_path}/" in self._real

    def _is_forbidden(self, path: str) -> bool:
        return path in self._forbidden_paths or path.startswith(self._forbidden_folders)

    def _look_again(self) -> bool:
        """Look where the roots lead now, unless that was done a moment ago; return whether it was done."""
        with self._lock:
            if self._steady() - self._resolved < LOOK_AGAIN:
                return False
            self._resolve()
            return True


def _both(paths: Iterable[str]) -> list[str]:
    return [form for path in paths for form in (path, os.path.realpath(path))]


def _prefixes(folders: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return what paths below the folders begin with; a slash at the end keeps /data2 out of /data."""
    return None if folders is None else tuple(f"{folder.rstrip('/')}/" for folder in folders)
