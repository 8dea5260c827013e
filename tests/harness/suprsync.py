"""The other users of the transfer database: the published SupRsync agent, and a process that copies, marks and adds."""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.harness.agents import AgentHandle, start_agent
from tests.harness.pysmurf import md5, rows
from tests.harness.site import Site

ARCHIVES = ("smurf", "timestreams")
OTHERS = "elsewhere"  # the archive of the rows that a marker adds
LOCK_WORDS = ("database is locked", "database table is locked", "SQLITE_BUSY", "OperationalError")
BUSY_S = 5.0  # how long Python's and SQLAlchemy's users of SQLite wait for others, if they say nothing
ROUND_S = 0.1
BATCH = 500


def start_published_monitor(site: Site, python: str, instance_id: str) -> AgentHandle:
    """Start an instance with the published monitor: by its module, as its class's name now means ours."""
    return start_agent(site, instance_id, python=python, program=("-m", "socs.agents.pysmurf_monitor.agent"))


def need_rsync() -> None:
    """Skip the test where rsync is missing, with which the agents copy; fail it in CI."""
    if not shutil.which("rsync"):
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("no rsync: install it with your system's package manager")


def start_suprsync(site: Site, python: str, db_path: Path, folder: Path, archive: str) -> AgentHandle:
    """Start the published agent of one archive, which copies to `folder/remote/<archive>` on this machine."""
    remote = remote_folder(folder, archive)
    remote.mkdir(parents=True, exist_ok=True)  # the agent makes folders in it, not the folder
    options = {
        "--archive-name": archive,
        "--remote-basedir": remote,
        "--db-path": db_path,
        "--suprsync-file-root": folder / "suprsync-files",
        "--sleep-time": 0.5,
    }
    name = f"suprsync-{archive}"
    site.add_instance("SupRsync", name, [f"{option}={value}" for option, value in options.items()])
    return start_agent(site, name, python=python)


def remote_folder(folder: Path, archive: str) -> Path:
    return folder / "remote" / archive


def is_all_copied(db_path: Path) -> bool:
    """Tell whether each file of the table has been copied, whoever entered it."""
    found = rows(db_path)
    return bool(found) and all(row["copied"] for row in found)


def wrongly_copied(db_path: Path, folder: Path) -> list[str]:
    """Compare each row's local file with its copy, byte by byte, and with what the row says; name what is not right."""
    return [f"{row['local_path']}: {wrong}" for row in rows(db_path) if (wrong := _wrong(row, folder))]


def _wrong(row: dict[str, Any], folder: Path) -> str:
    local, remote = Path(row["local_path"]), remote_folder(folder, row["archive_name"]) / row["remote_path"]
    if not remote.exists():
        return f"no copy at {remote}"
    if remote.read_bytes() != local.read_bytes():
        return f"{remote} differs"
    sums = {row["local_md5sum"], row["remote_md5sum"], md5(local)}
    return "" if len(sums) == 1 else f"sums differ: {sums}"


def lock_errors(text: str) -> list[str]:
    """Return the lines of a log that tell of a lock."""
    return [line for line in text.splitlines() if any(word in line for word in LOCK_WORDS)]


@dataclass
class Marked:
    """What the marking process has done.

    Attributes:
        marked: rows whose file it has read and found right, and marked as copied.
        removed: of those, rows whose file it has removed.
        added: rows of its own.
        wrong: what was not as its row says.
        locks: times at which somebody else had the database for longer than it waits.
        longest: longest time that one of its transactions took (s).
    """

    marked: int = 0
    removed: int = 0
    added: int = 0
    wrong: list[str] = field(default_factory=list)
    locks: list[str] = field(default_factory=list)
    longest: float = 0.0


class Marker:
    """Does with the database all the time what the SupRsync agents do, and keeps the disk free.

    Args:
        db_path: the database.
        remove: whether files are removed once they are marked.
        age: how old a row has to be to be marked (s).
    """

    def __init__(self, db_path: Path, *, remove: bool, age: float = 0.0) -> None:
        self.done = Marked()
        self._path, self._remove, self._age = db_path, remove, age
        self._last = (
            0  # all rows up to this id are done with; to look for those not copied would be to read all of them
        )
        self._next = 0
        self._link: sqlite3.Connection | None = None

    def work(self, stop: Callable[[], bool]) -> None:
        """Mark and add, until told to stop and nothing is left to be marked."""
        while True:
            if last := stop():  # asked first, so that what came before it is taken too
                self._age = 0.0
            before = self._last
            self.round()
            if last and self._last - before < BATCH:
                return
            time.sleep(ROUND_S)

    def round(self) -> None:
        """Mark what is there, at most `BATCH` rows, and add one."""
        try:
            found = self._to_do()
            good = [row for row in found if self._is_right(row)]
            self._write(found, good)
            self._last = self._next
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error) and "unable to open" not in str(error):
                self.done.locks.append(f"{time.time():.1f} {error}")

    def _to_do(self) -> list[tuple[int, str, str]]:
        wanted = (
            "SELECT id, local_path, local_md5sum, timestamp, copied FROM supersync_v0 WHERE id > ? ORDER BY id LIMIT ?"
        )
        found = self._open().execute(wanted, (self._last, BATCH)).fetchall()
        old = list(takewhile(lambda row: row[3] <= time.time() - self._age, found))
        self._next = old[-1][0] if old else self._last
        return [row[:3] for row in old if row[4] is None]

    def _open(self) -> sqlite3.Connection:
        if self._link is None:
            self._link = sqlite3.connect(f"file:{self._path}?mode=rw", uri=True, timeout=BUSY_S)
        return self._link

    def _is_right(self, row: tuple[int, str, str]) -> bool:
        _, path, wanted = row
        with contextlib.suppress(OSError):
            if hashlib.md5(Path(path).read_bytes()).hexdigest() == wanted:
                return True
        self.done.wrong.append(path)
        return False

    def _write(self, found: list[tuple[int, str, str]], good: list[tuple[int, str, str]]) -> None:
        link, began, now = self._open(), time.monotonic(), time.time()
        with link:
            link.execute("BEGIN IMMEDIATE")
            link.executemany(
                "UPDATE supersync_v0 SET copied = ?, remote_md5sum = local_md5sum, removed = ? WHERE id = ?",
                [(now, now if self._remove else None, number) for number, _, _ in found],
            )
            self._add(link, now)
        self.done.longest = max(self.done.longest, time.monotonic() - began)
        self.done.marked += len(good)
        for _, path, _ in good if self._remove else ():
            Path(path).unlink()
            self.done.removed += 1

    def _add(self, link: sqlite3.Connection, now: float) -> None:
        """Enter a file of another archive, as those who finalize a day do."""
        name = f"/elsewhere/{os.getpid()}/{self.done.added}"
        link.execute(
            "INSERT INTO supersync_v0 (local_path, local_md5sum, archive_name, remote_path, timestamp, copied)"
            " VALUES (?, 'x', ?, ?, ?, ?)",
            (name, OTHERS, name[1:], now, now),
        )
        self.done.added += 1


@contextmanager
def marking(db_path: Path, *arguments: str) -> Iterator[Callable[[], Marked]]:
    """Run a marker as a process of its own; what is given ends it and returns what it has done."""
    command = [sys.executable, "-m", "tests.harness.suprsync", str(db_path), *arguments]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def finish() -> Marked:
            told, _ = process.communicate(timeout=120)  # the end of its input is its sign
            assert process.returncode == 0, f"the marker exited with {process.returncode}"
            return Marked(**json.loads(told))

        try:
            yield finish
        finally:
            process.kill() if process.poll() is None else None


def main() -> None:
    import select

    parser = argparse.ArgumentParser(prog="python -m tests.harness.suprsync", description=Marker.__doc__)
    parser.add_argument("database", type=Path)
    parser.add_argument("--remove", action="store_true", help="remove each file that has been marked")
    parser.add_argument("--age", type=float, default=0.0, metavar="S", help="how old a row has to be")
    args = parser.parse_args()
    marker = Marker(args.database, remove=args.remove, age=args.age)
    marker.work(lambda: bool(select.select([sys.stdin], [], [], 0)[0]))
    print(json.dumps(asdict(marker.done)))


if __name__ == "__main__":
    main()
