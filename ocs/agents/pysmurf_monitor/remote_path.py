"""Where a file goes in its archive, and whether it may be deleted once it is there. No input or output."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ARCHIVES", "SMURF", "TIMESTREAMS", "create_remote_path", "is_deletable"]

SMURF: Final = "smurf"
TIMESTREAMS: Final = "timestreams"
ARCHIVES: Final = (SMURF, TIMESTREAMS)

_CTIME_DIGITS: Final = 5
_PARTS_OF_TIMESTREAM: Final = 3
_DAY_FOLDER: Final = 3
"""Where `/data/smurf_data/20261123/...` has the day, if split at the slashes."""
_KEPT: Final = ("iv", "channel_assignment", "tune")
"""Files with one of these in their path are needed on the SMuRF server for later."""


def create_remote_path(meta: Mapping[str, Any], archive_name: str) -> str:
    """Return a file's path relative to its archive's folder.

    - ``smurf``: ``{5 ctime digits}/{pub_id}/{action_ts}_{action}/{plots or outputs}/{file name}``; the digits are the
      first of the file's ``timestamp``.
    - ``timestreams``: the last three parts of the file's path.

    Args:
        meta: what the publisher says of the file: ``path``, and for ``smurf`` also ``timestamp`` (unix s), ``action``,
            ``action_ts`` (unix s), ``plot`` and ``pub_id``. It is taken as it is: `messages.parse` checks it.
        archive_name: ``smurf`` or ``timestreams``.

    Raises:
        KeyError: something is missing.
        ValueError: there is no such archive.
    """
    if archive_name == SMURF:
        return _smurf_path(meta)
    if archive_name == TIMESTREAMS:
        return "/".join([part for part in meta["path"].split("/") if part][-_PARTS_OF_TIMESTREAM:])
    raise ValueError(f"no archive is called {archive_name!r}: there are {' and '.join(ARCHIVES)}")


def _smurf_path(meta: Mapping[str, Any]) -> str:
    ctime = str(meta["timestamp"])[:_CTIME_DIGITS]
    kind = "plots" if meta["plot"] else "outputs"
    name = meta["path"].rpartition("/")[2]
    return f"{ctime}/{meta['pub_id']}/{meta['action_ts']}_{meta['action']}/{kind}/{name}"


def is_deletable(path: str, archive_name: str) -> bool:
    """Tell whether a file may be deleted from the SMuRF server when it has been copied.

    Args:
        path: the file, absolute.
        archive_name: the archive it belongs to.

    Returns:
        False for files of ``smurf`` that are not in the folder of a day, as in ``/data/smurf_data/20261123/...``, and
        for all with ``iv``, ``channel_assignment`` or ``tune`` anywhere in their path.
    """
    if archive_name == SMURF and not _is_below_day(path):
        return False
    return not any(kept in path for kept in _KEPT)


def _is_below_day(path: str) -> bool:
    parts = path.split("/", _DAY_FOLDER + 1)
    if len(parts) <= _DAY_FOLDER + 1:  # the last one is the file
        return False
    day = parts[_DAY_FOLDER]
    return day.isascii() and day.isdigit()
