"""What the monitor remembers over a restart or a crash: how far it has come, what has been put off, what is known."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.seen import Followed, Known, Learned
from ocs.agents.pysmurf_monitor.state_file import PENDING_COLUMNS, STATE_BYTES, StateFile

if TYPE_CHECKING:
    from ocs.agents.pysmurf_monitor.hashing import Item

__all__ = ["Pending", "State"]


@dataclass(frozen=True, slots=True)
class Pending:
    """An announced file that has been put off."""

    announcement: Announcement
    index: int
    """Of its datagram in the journal; -1: it came another way."""
    attempts: int
    """How often it has been tried."""
    since: float
    """When it was announced (unix, s)."""
    next: float
    """When it is due (unix, s)."""
    reason: str

    @property
    def path(self) -> str:
        """The file."""
        return self.announcement.path


class State:
    """The state file's contents. Any thread: one connection, and one lock that is held for a few milliseconds.

    What comes back from a call is in the file, over the end of the process however it ends; over a power cut once
    `sync` has been called. All methods but `close` raise `StateTroubleError` where the file cannot be used (disk
    full, no permission): nothing was changed then, and the next call tries again. A file that is damaged is set
    aside and begun anew with what could be read of it: such a call raises too, and `notices` tells of it.

    Args:
        path: where the file is; its folder is made.
        most_bytes: how large it may grow.

    Attributes:
        path: where the file is.
        notices: what an operator should hear of, oldest first.
    """

    def __init__(self, path: Path, most_bytes: int = STATE_BYTES) -> None:
        self.path = path
        self._file = StateFile(path, most_bytes)
        self.notices = self._file.notices

    def sync(self) -> None:
        """Have everything on the disk; to be called before the journal below the cursor is dropped."""
        self._file.sync()

    def close(self) -> None:
        """Close it; a later call opens it again."""
        self._file.close()

    # How far

    @property
    def cursor(self) -> int:
        """The journal index below which everything is done with: entered, put off, published or refused."""
        return int(self._file.read("SELECT cursor FROM progress")[0][0])

    def note(
        self,
        *,
        cursor: int,
        done: Iterable[str] = (),
        put_off: "Iterable[tuple[Item, float]]" = (),
        learned: Learned | None = None,
    ) -> None:
        """Note, all or nothing, what has been come to.

        Args:
            cursor: as `cursor`.
            done: paths that are in the table, and are not put off any more.
            put_off: files that are, each with the time of its next attempt (unix, s); `Item.trouble` says why.
            learned: rows of the table that the index is to have.
        """
        finished = set(done)
        rows = [_row(item, item.trouble, due) for item, due in put_off if item.announcement.path not in finished]
        with self._file.transaction() as link:
            link.execute("UPDATE progress SET cursor = ?", (cursor,))
            # First what gives room, if the file has reached its bound.
            if finished and link.execute("SELECT 1 FROM pending LIMIT 1").fetchone():
                link.executemany("DELETE FROM pending WHERE path = ?", ((path,) for path in finished))
            link.executemany(_PUT_OFF, filter(None, rows))
            if learned is not None:
                _learn(link, learned)

    # What has been put off

    def put_off(self, items: "Iterable[Item]", reason: str, next_time: float) -> None:
        """Put files off. One that is put off already keeps its place, and has this announcement from now on.

        A path that is no text cannot be remembered; it could not become a row either, and is passed over.

        Args:
            items: the files.
            reason: why, in a few words.
            next_time: when they are due (unix, s).
        """
        rows = [_row(item, reason, next_time) for item in items]
        with self._file.transaction() as link:
            link.executemany(_PUT_OFF, filter(None, rows))

    def due(self, now: float, limit: int = 1000) -> list[Pending]:
        """Hand out files that are due, the longest first.

        They are not handed out again before they have been put off again, or the monitor has been restarted.

        Args:
            now: the time (unix, s).
            limit: how many at most.
        """
        rows = self._file.read(_DUE, (now, limit))
        if rows:
            with self._file.transaction() as link:
                link.executemany("UPDATE pending SET taken = 1 WHERE path = ?", ((row[0],) for row in rows))
        return [_pending(row) for row in rows]

    def next_due(self) -> float | None:
        """Return when the next file that has not been handed out is due (unix, s); None if there is none."""
        [(due,)] = self._file.read("SELECT min(next) FROM pending WHERE taken = 0")
        return None if due is None else float(due)

    @property
    def pending_count(self) -> int:
        """How many files are put off, those that are handed out included."""
        return int(self._file.read("SELECT count(*) FROM pending")[0][0])

    def pending_list(self, limit: int = 50) -> list[Pending]:
        """Return files that are put off, those included that are handed out, the longest first."""
        return [_pending(row) for row in self._file.read(_PENDING, (limit,))]

    # What is in the table: the index

    @property
    def followed(self) -> Followed:
        """Which table the index follows, and how far."""
        return Followed(*self._file.read("SELECT db_path, inode, last, last_key FROM progress")[0])

    def find(self, keys: Sequence[int]) -> list[Known]:
        """Return all that the index has of these keys, as (key, id)."""
        return [(key, row_id) for key, row_id in self._file.read(_FIND, (json.dumps(keys),))]

    def learn(self, learned: Learned) -> None:
        """Have the index follow the table further."""
        with self._file.transaction() as link:
            _learn(link, learned)

    def forget(self, followed: Followed) -> None:
        """Empty the index: it is going to follow another table."""
        with self._file.transaction() as link:
            link.execute("DELETE FROM seen")
            _learn(link, Learned([], followed))


_COLUMNS = ", ".join(PENDING_COLUMNS)
_PENDING = f"SELECT {_COLUMNS} FROM pending ORDER BY rowid LIMIT ?"  # noqa: S608 - our own names
_DUE = f"SELECT {_COLUMNS} FROM pending WHERE taken = 0 AND next <= ? ORDER BY next LIMIT ?"  # noqa: S608 - as above
_PUT_OFF = f"""INSERT INTO pending ({_COLUMNS}) VALUES ({", ".join("?" * len(PENDING_COLUMNS))})
    ON CONFLICT (path) DO UPDATE SET pub_id = excluded.pub_id, archive_name = excluded.archive_name,
    remote_path = excluded.remote_path, deletable = excluded.deletable, time = excluded.time,
    number = excluded.number, attempts = max(attempts, excluded.attempts), since = min(since, excluded.since),
    next = excluded.next, reason = excluded.reason, taken = 0"""  # noqa: S608 - as above
# The keys as one text: one statement for any number of them.
_FIND = "SELECT seen.key, seen.id FROM json_each(?) AS wanted CROSS JOIN seen ON seen.key = wanted.value"


def _learn(link: Any, learned: Learned) -> None:
    # In the order of the keys, so that a page of the index is changed once.
    link.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", sorted(learned.known))
    link.execute("UPDATE progress SET db_path = ?, inode = ?, last = ?, last_key = ?", learned.followed)


def _row(item: "Item", reason: str, due: float) -> tuple[Any, ...] | None:
    it = item.announcement
    try:
        f"{it.path}{it.pub_id}{it.archive_name}{it.remote_path}".encode()
    except UnicodeEncodeError:
        return None
    whence = (it.path, it.pub_id, it.archive_name, it.remote_path, int(it.deletable), it.time)
    return (*whence, item.index, item.attempt, item.since, due, reason.encode(errors="replace").decode())


def _pending(row: tuple[Any, ...]) -> Pending:
    path, pub_id, archive_name, remote_path, deletable, sent, *rest = row
    return Pending(Announcement(path, pub_id, archive_name, remote_path, bool(deletable), sent), *rest)
