"""Finds files in the transfer database by their paths, with the index that the registrar keeps; reads only."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ocs.agents.pysmurf_monitor.seen import key_of
from ocs.agents.pysmurf_monitor.state import State
from ocs.errors import DatabaseTroubleError

__all__ = ["Lookup", "Rows", "rows_of"]

NEWEST = 10_000
"""So many rows at most are looked at that the index does not have yet."""

Rows = Mapping[str, str]
"""Remote paths, by local path, of files that are in the table."""
Lookup = Callable[[Sequence[str]], Rows]
"""Tells which of some files are in the table."""


def rows_of(db_path: str, state: State, paths: Sequence[str]) -> Rows:
    """Return those of some files that are in the table; none while that cannot be told. Any thread.

    Args:
        db_path: the transfer database.
        state: has the index.
        paths: the files.
    """
    if not Path(db_path).exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{quote(db_path)}?mode=ro", uri=True, timeout=5.0)) as link:
            return _rows(link, state, {key_of(path): path for path in paths})
    except (sqlite3.Error, DatabaseTroubleError):  # the registrar meets it too, and tells of it
        return {}


def _rows(link: sqlite3.Connection, state: State, wanted: Mapping[int, str]) -> Rows:
    found: dict[str, str] = {}
    for _, row_id in state.find(list(wanted)):
        found.update(link.execute("SELECT local_path, remote_path FROM supersync_v0 WHERE id = ?", (row_id,)))
    newer = "SELECT local_path, remote_path FROM supersync_v0 WHERE id > ? ORDER BY id LIMIT ?"
    found.update(link.execute(newer, (state.followed.last, NEWEST)))
    paths = set(wanted.values())
    return {local: remote for local, remote in found.items() if local in paths}
