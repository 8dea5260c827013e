"""The one place where the reading of archives meets so3g and spt3g, which are slow to load and may be missing."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from ocs.errors import RecordingLibraryError

__all__ = ["LIBRARY_ERRORS", "decode", "quiet_library", "reason", "spt3g_core", "translator"]

LIBRARY_ERRORS = (RuntimeError, KeyError, TypeError, AttributeError, ValueError)
"""What spt3g and so3g raise over bytes that are no frames, and frames that are no housekeeping."""


@functools.cache
def spt3g_core() -> Any:
    """Return the module ``spt3g.core``.

    Raises:
        RecordingLibraryError: so3g is not installed.
    """
    try:
        import so3g  # noqa: F401, PLC0415 - makes the spt3g that comes with it importable
        from spt3g import core  # noqa: PLC0415 - slow to load
    except ImportError as error:
        raise RecordingLibraryError.because(error) from error
    return core


def translator() -> Callable[[Any], list[Any]]:
    """Return what turns frames of older schemas into those of today; it takes a frame and gives a list."""
    spt3g_core()
    from so3g.hk import HKTranslator  # noqa: PLC0415 - slow to load

    translate: Callable[[Any], list[Any]] = HKTranslator()
    return translate


def decode(content: bytes) -> Any:
    """Make a frame of the bytes that it has in a file, and check it against its checksum.

    Raises:
        RuntimeError: it is damaged, or no frame.
    """
    frame = spt3g_core().G3Frame()
    # What spt3g pickles is the very form that its writer puts into a file.
    frame.__setstate__(({}, content))
    return frame


def reason(error: Exception) -> str:
    """Return what a library's error says, without the place in its source."""
    return str(error).partition(" (in ")[0].partition(" (G3Frame.cxx")[0]


@contextlib.contextmanager
def quiet_library() -> Iterator[None]:
    """Keep spt3g from writing about damaged files to the terminal by itself."""
    core = spt3g_core()
    before = core.G3Logger.global_logger
    core.G3Logger.global_logger = core.G3NullLogger()
    try:
        yield
    finally:
        core.G3Logger.global_logger = before
