"""The transfer database under fire: other writers, locks, kills, full and read-only disks, missing permissions."""

import json
import random
import sqlite3
import time
from contextlib import closing, contextmanager

import pytest

from ocs.agents.pysmurf_monitor.registrar import MOST, Registrar
from ocs.agents.pysmurf_monitor.state import State
from ocs.agents.pysmurf_monitor.suprsync import SupRsyncFilesManager
from ocs.errors import DatabaseTroubleError, StateTroubleError
from tests.harness.pysmurf import each_once, query
from tests.harness.recording.disk import CannotTest, SmallDisk
from tests.harness.registering import (
    execute,
    locked,
    make_items,
    ordinary_folder,
    ordinary_user,
    path_of,
    program,
    read_only_disk,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FILES = 20_000
KILLS = 20

OTHER_WRITER = """
import json, select, sqlite3, sys, time
link = sqlite3.connect(sys.argv[1], isolation_level=None)  # its timeout is 5 s, as everybody's
errors, number, long, next_long = [], 0, 0, time.monotonic() + 0.3
INSERT = ("INSERT INTO supersync_v0 (local_path, local_md5sum, archive_name, remote_path, timestamp)"
          " VALUES (?, '', 'smurf', '', 0)")
print("open", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    try:
        link.execute("BEGIN IMMEDIATE")
        link.execute(INSERT, [f"/others/{number}"])
        link.execute("UPDATE supersync_v0 SET copied = 1 WHERE id = (SELECT max(id) FROM supersync_v0)")
        if time.monotonic() > next_long:
            time.sleep(2.0)
            long += 1
            next_long = time.monotonic() + 1.0
        link.execute("COMMIT")
        number += 1
    except sqlite3.Error as error:
        errors.append(str(error))
        if link.in_transaction:
            link.execute("ROLLBACK")
print(json.dumps({"rows": number, "long": long, "errors": errors}), flush=True)
"""

# Enters files from its cursor on, as the monitor does; says what it was told by the database, and why it ended.
MONITOR = """
import json, sys, time
from pathlib import Path
from ocs.agents.pysmurf_monitor.registrar import Registrar
from ocs.agents.pysmurf_monitor.state import State
from ocs.errors import DatabaseTroubleError
from tests.harness.registering import make_items

db_path, state_path, files, batch, pause = sys.argv[1:]
files, batch = int(files), int(batch)
state = State(Path(state_path))
registrar = Registrar(Path(db_path), state)
entered = known = 0
print("open", flush=True)
for first in range(state.cursor, files, batch):
    print(first, flush=True)
    items = make_items(range(first, min(files, first + batch)))
    found = registrar.enter(items)
    entered, known = entered + found.entered, known + found.known
    time.sleep(float(pause))  # where a kill is to meet it
    registrar.note(cursor=first + len(items), done=items, put_off=[])
print(json.dumps({"entered": entered, "known": known}), flush=True)
"""


@contextmanager
def told_to_end(process):
    """Have a program that has opened the database end, in the end, by a line of input; what it says is in the list."""
    assert process.stdout.readline() == "open\n"
    said = []
    yield said
    process.stdin.write("\n")
    process.stdin.flush()
    said.append(json.loads(process.stdout.readline()))


@pytest.fixture
def db_path(tmp_path):
    path = tmp_path / "databases" / "suprsync.db"
    path.parent.mkdir()
    SupRsyncFilesManager(path).close()
    return path


@contextmanager
def registering(db_path, state_path, **keywords):
    with closing(State(state_path)) as state, closing(Registrar(db_path, state, **keywords)) as registrar:
        registrar.state = state
        yield registrar


def enter(registrar, numbers):
    items = make_items(numbers)
    entered = registrar.enter(items)
    registrar.note(cursor=numbers[-1] + 1, done=items, put_off=[])
    return entered.entered, entered.known


def trouble(registrar, numbers=range(5)):
    with pytest.raises(DatabaseTroubleError) as caught:
        enter(registrar, numbers)
    assert "\n" not in str(caught.value)
    return caught.value.state, str(caught.value)


@pytest.mark.slow
def test_beside_a_busy_writer_each_file_is_entered_once_and_nobody_sees_a_lock(db_path, tmp_path):
    with (
        program(OTHER_WRITER, db_path) as writer,
        told_to_end(writer) as said,
        registering(db_path, tmp_path / "state.sqlite") as registrar,
    ):
        entered = [enter(registrar, range(first, first + 100)) for first in range(0, FILES, 100)]
    [theirs] = said
    assert entered == [(100, 0)] * (FILES // 100)
    assert (theirs["errors"], theirs["long"] > 0) == ([], True)
    others = [f"/others/{number}" for number in range(theirs["rows"])]
    assert each_once(db_path, [*map(path_of, range(FILES)), *others]) == ""


@pytest.mark.slow
def test_two_monitors_with_the_same_files_enter_each_once(db_path, tmp_path):
    arguments = (FILES, 300, 0)
    with (
        program(MONITOR, db_path, tmp_path / "one.sqlite", *arguments) as one,
        program(MONITOR, db_path, tmp_path / "other.sqlite", *arguments) as other,
    ):
        said = [json.loads(monitor.communicate(timeout=120)[0].splitlines()[-1]) for monitor in (one, other)]
    assert each_once(db_path, map(path_of, range(FILES))) == ""
    assert sum(each["entered"] for each in said) == FILES
    assert [each["entered"] + each["known"] for each in said] == [FILES, FILES]


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["anywhere", "mostly between commit and note"])
def test_killed_again_and_again_it_enters_each_file_once(db_path, tmp_path, pause):
    state_path, chance = tmp_path / "state.sqlite", random.Random(7)
    for _ in range(KILLS):
        with program(MONITOR, db_path, state_path, FILES, 100, pause) as monitor:
            assert monitor.stdout.readline() == "open\n"
            for _ in range(chance.randrange(FILES // 100 // KILLS)):
                assert monitor.stdout.readline().strip().isdigit()
            time.sleep(chance.uniform(0.0, 0.003))  # anywhere in a batch
            monitor.kill()
    with program(MONITOR, db_path, state_path, FILES, 100, pause) as monitor:
        said = json.loads(monitor.communicate(timeout=120)[0].splitlines()[-1])
    assert each_once(db_path, map(path_of, range(FILES))) == ""
    assert query(db_path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert said["entered"] + said["known"] < FILES, "it went on where it had been, not from the beginning"
    with closing(State(state_path)) as state:
        assert (state.cursor, state.notices) == (FILES, [])


def test_locked_for_longer_than_it_waits_it_says_so_and_goes_on(db_path, tmp_path):
    with registering(db_path, tmp_path / "state.sqlite") as registrar, locked(db_path, 8.0):
        assert trouble(registrar)[0] == "locked"
        assert enter(registrar, range(5)) == (5, 0)
    assert each_once(db_path, map(path_of, range(5))) == ""


# Disks


@pytest.fixture
def small_disk(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "disk", 4)
    except (CannotTest, OSError) as error:
        pytest.skip(str(error))
    yield disk
    disk.close()


def test_a_full_disk_is_told_and_all_is_entered_once_there_is_room(small_disk, tmp_path):
    db_path = small_disk.folder / "suprsync.db"
    with registering(db_path, tmp_path / "state.sqlite") as registrar:
        enter(registrar, range(100))
        small_disk.fill()
        for _ in range(3):
            told = "full", f"the disk of {db_path} is full: make room"
            assert trouble(registrar, range(100, 100 + 2 * MOST)) == told
        small_disk.free()
        assert enter(registrar, range(2 * MOST)) == (2 * MOST - 100, 100)
    assert each_once(db_path, map(path_of, range(2 * MOST))) == ""


def test_a_database_that_is_made_on_a_full_disk_is_usable_once_there_is_room(small_disk, tmp_path):
    db_path = small_disk.folder / "suprsync.db"
    small_disk.fill()
    with registering(db_path, tmp_path / "state.sqlite") as registrar:
        assert trouble(registrar)[0] == "full"
        small_disk.free()
        assert enter(registrar, range(5)) == (5, 0)
    assert each_once(db_path, map(path_of, range(5))) == ""


def test_a_state_on_a_full_disk_refuses_and_is_as_it_was(small_disk):
    path = small_disk.folder / "state.sqlite"
    with closing(State(path)) as state:
        state.note(cursor=7)
        small_disk.fill()
        many = make_items(range(5000))
        with pytest.raises(StateTroubleError) as caught:
            state.put_off(many, "is not there", 1.0)
        assert (caught.value.state, str(caught.value)) == ("full", f"the disk of {path} is full: make room")
        small_disk.free()
        assert (state.cursor, state.pending_count, state.notices) == (7, 0, [])
        state.put_off(many, "is not there", 1.0)
        assert state.pending_count == 5000


def test_a_read_only_disk_is_told_and_taken_up_once_it_is_writable(small_disk, tmp_path):
    db_path = small_disk.folder / "suprsync.db"
    with registering(db_path, tmp_path / "state.sqlite") as registrar:
        enter(registrar, range(5))
        registrar.close()
        with read_only_disk(small_disk.folder):
            told = "read-only", f"{db_path} is on a disk that is mounted read-only: mount it writable"
            assert trouble(registrar, range(10)) == told
        assert enter(registrar, range(10)) == (5, 5)


def test_a_state_on_a_read_only_disk_says_so(small_disk):
    path = small_disk.folder / "state.sqlite"
    with closing(State(path)) as state:
        state.note(cursor=7)
        state.close()
        with read_only_disk(small_disk.folder):
            with pytest.raises(StateTroubleError, match="mounted read-only") as caught:
                state.note(cursor=8)
            assert caught.value.state == "read-only"
        state.note(cursor=8)
        assert state.cursor == 8


# Permissions


@pytest.fixture
def others_database():
    """Yields a database that belongs to somebody else, in a folder of its own."""
    with ordinary_folder() as folder:
        path = folder / "suprsync.db"
        SupRsyncFilesManager(path).close()
        path.chmod(0o666)
        folder.chmod(0o777)
        yield path
        folder.chmod(0o755)


@pytest.mark.parametrize(
    ("of", "mode", "state", "text"),
    [
        ("file", 0o444, "read-only", "{path} may not be written by user {user}: change its owner or mode"),
        ("file", 0o000, "no permission", "{path} may not be read by user {user}: change its owner or mode"),
        ("folder", 0o555, "read-only", "{folder} may not be written by user {user}: change its owner or mode"),
        ("folder", 0o000, "no permission", "{path} cannot be reached by user {user}: let this user into its folders"),
    ],
)
def test_what_we_may_not_do_is_told_with_the_file_and_the_user(others_database, of, mode, state, text):
    path, folder = others_database, others_database.parent
    with ordinary_folder() as place:
        place.chmod(0o777)
        with ordinary_user(), closing(State(place / "state.sqlite")):
            pass
        (path if of == "file" else folder).chmod(mode)
        with ordinary_user() as user, registering(path, place / "state.sqlite") as registrar:
            assert trouble(registrar) == (state, text.format(path=path, folder=folder, user=user))
        folder.chmod(0o777)
        path.chmod(0o666)
        with ordinary_user(), registering(path, place / "state.sqlite") as registrar:
            assert enter(registrar, range(5)) == (5, 0)


def test_a_folder_in_which_nothing_may_be_made_is_told(tmp_path):
    with ordinary_folder() as place, registering(place / "suprsync.db", tmp_path / "state.sqlite") as registrar:
        with ordinary_user() as user:
            told = f"{place} may not be written by user {user}: change its owner or mode"
            with pytest.raises(DatabaseTroubleError) as caught:
                registrar.check()
            assert (caught.value.state, str(caught.value)) == ("read-only", told)
        assert enter(registrar, range(5)) == (5, 0)


# Damage


def test_a_damaged_database_is_told_and_a_mended_one_taken_up(db_path, tmp_path):
    with registering(db_path, tmp_path / "state.sqlite") as registrar:
        enter(registrar, range(2000))
        registrar.close()
        whole = db_path.read_bytes()
        with db_path.open("r+b") as file:
            file.seek(4096)
            file.write(random.Random(1).randbytes(len(whole) - 4096))
        assert trouble(registrar, range(10))[0] == "damaged"
        db_path.write_bytes(whole)
        assert enter(registrar, range(1990, 2010)) == (10, 10)
    assert each_once(db_path, map(path_of, range(2010))) == ""


def test_an_empty_file_is_filled(db_path, tmp_path):
    db_path.write_bytes(b"")
    with registering(db_path, tmp_path / "state.sqlite") as registrar:
        assert enter(registrar, range(5)) == (5, 0)


def test_a_database_without_write_ahead_log_is_used_as_it_is_while_others_read_it(db_path, tmp_path):
    execute(db_path, "PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(db_path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM supersync_v0").fetchall()
        with registering(db_path, tmp_path / "state.sqlite", busy_timeout=0.2) as registrar:
            assert trouble(registrar)[0] == "locked"
            reader.execute("COMMIT")
            assert enter(registrar, range(5)) == (5, 0)
    assert each_once(db_path, map(path_of, range(5))) == ""
