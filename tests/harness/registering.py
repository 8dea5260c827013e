"""Files as the registrar of the pysmurf monitor gets them, and other programs that use the same database."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.messages import Announcement

NOBODY = 65534
FOLDER = "/data/smurf_data/20261123/crate1slot2/1790000000/outputs"


def path_of(number: int) -> str:
    return f"{FOLDER}/{1_790_000_000 + number}_tune.npy"


def make_item(
    path: str, *, index: int = -1, attempt: int = 0, since: float = 100.0, md5: str = "", trouble: str = ""
) -> Item:
    """Return a file that has been hashed."""
    remote = f"17900/crate1slot2/1790000000_take_iv/outputs/{path.rpartition('/')[2]}"
    announcement = Announcement(path, "crate1slot2", "smurf", remote, False, 99.0)
    item = Item(announcement, index, attempt=attempt, since=since)
    item.md5 = md5 or f"md5 of {path}"
    item.trouble = trouble
    return item


def make_items(numbers: Sequence[int]) -> list[Item]:
    """Return files by their numbers, which are their journal indices too."""
    return [make_item(path_of(number), index=number) for number in numbers]


def add_rows(db_path: Path, paths: Sequence[str]) -> None:
    """Add rows as another program does."""
    rows = [(path, "md5", "smurf", "remote", 5.0) for path in paths]
    with closing(sqlite3.connect(db_path)) as link, link:
        link.executemany(
            "INSERT INTO supersync_v0 (local_path, local_md5sum, archive_name, remote_path, timestamp)"
            " VALUES (?, ?, ?, ?, ?)",
            rows,
        )


def execute(db_path: Path, *statements: str) -> None:
    """Change the database as another program does."""
    with closing(sqlite3.connect(db_path)) as link, link:
        for statement in statements:
            link.execute(statement)


@contextmanager
def program(text: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Yield a Python process that is killed at the end."""
    command = [sys.executable, "-c", text, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


LOCKER = """
import sqlite3, sys, time
link = sqlite3.connect(sys.argv[1], isolation_level=None)
link.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline() if sys.argv[2] == "until told" else time.sleep(float(sys.argv[2]))
link.execute("COMMIT")
print("free", flush=True)
"""


@contextmanager
def locked(db_path: Path, how_long: float | str = "until told") -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the write lock: so many seconds, or until it is sent a line, or the end."""
    with program(LOCKER, db_path, how_long) as process:
        assert process.stdout
        assert process.stdout.readline() == "locked\n"
        yield process


@contextmanager
def ordinary_folder() -> Iterator[Path]:
    """Yield a folder that any user can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        yield Path(place)


@contextmanager
def ordinary_user() -> Iterator[int]:
    """Be subject to permissions: root becomes nobody. Yields the user's number."""
    if os.geteuid():
        yield os.geteuid()
        return
    os.seteuid(NOBODY)
    try:
        yield NOBODY
    finally:
        os.seteuid(0)


@contextmanager
def read_only_disk(folder: Path) -> Iterator[None]:
    """Remount a small disk so that nothing can be written to it."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
