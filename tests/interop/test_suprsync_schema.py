"""A database that ours has made is to the published programs as one of theirs, and the other way round."""

import json
from contextlib import closing

import pytest

from ocs.agents.pysmurf_monitor.registrar import Registrar
from ocs.agents.pysmurf_monitor.state import State
from ocs.agents.pysmurf_monitor.suprsync import SupRsyncFilesManager
from tests.harness.peers import answers, run
from tests.harness.pysmurf import each_once, query, rows
from tests.harness.registering import make_item

pytestmark = pytest.mark.interop

MAKE = """
import sys
from socs.db.suprsync import SupRsyncFilesManager
manager = SupRsyncFilesManager(sys.argv[1])
for path in sys.argv[2:]:
    manager.add_file(path, "remote" + path, "smurf", local_md5sum="md5", timestamp=5.0)
"""
COPYABLE = """
import json, sys
from socs.db.suprsync import SupRsyncFilesManager
with (manager := SupRsyncFilesManager(sys.argv[1])).Session() as session:
    files = manager.get_copyable_files("smurf", session=session, max_copy_attempts=5, num_files=10)
    print(json.dumps([[f.local_path, f.local_md5sum, f.remote_path, f.deletable, f.ignore] for f in files]))
"""


@pytest.fixture
def db_path(tmp_path):
    return tmp_path / "suprsync.db"


def enter(db_path, state_path, paths):
    items = [make_item(path) for path in paths]
    with closing(State(state_path)) as state, closing(Registrar(db_path, state, create_table=False)) as registrar:
        entered = registrar.enter(items)
        registrar.note(cursor=1, done=items, put_off=[])
    return entered.entered, entered.known


@pytest.mark.parametrize("table", ["supersync_v0", "timecode_dirs_v0"])
@pytest.mark.parametrize("pragma", ["table_info", "foreign_key_list", "index_list"])
def test_the_tables_are_the_same(db_path, tmp_path, socs_python, table, pragma):
    run(socs_python, "-c", MAKE, str(tmp_path / "theirs.db"))
    SupRsyncFilesManager(db_path).close()
    ours, theirs = (query(path, f"PRAGMA {pragma}({table})") for path in (db_path, tmp_path / "theirs.db"))
    assert ours == theirs
    assert ours or (pragma, table) != ("table_info", table)


def test_the_published_programs_find_our_rows(db_path, tmp_path, socs_python):
    SupRsyncFilesManager(db_path).close()
    enter(db_path, tmp_path / "state.sqlite", ["/a", "/b"])
    expected = [make_item(path) for path in ("/a", "/b")]
    assert answers(socs_python, "-c", COPYABLE, str(db_path)) == [
        [item.announcement.path, item.md5, item.announcement.remote_path, False, False] for item in expected
    ]


def test_rows_of_the_published_programs_are_known_to_ours(db_path, tmp_path, socs_python):
    run(socs_python, "-c", MAKE, str(db_path), "/a", "/b")
    assert enter(db_path, tmp_path / "state.sqlite", ["/b", "/c"]) == (1, 1)
    run(socs_python, "-c", MAKE, str(db_path), "/d")
    assert enter(db_path, tmp_path / "state.sqlite", ["/a", "/b", "/c", "/d", "/e"]) == (1, 4)
    assert each_once(db_path, ["/a", "/b", "/c", "/d", "/e"]) == ""


def test_a_row_of_ours_differs_from_theirs_in_nothing(db_path, tmp_path, socs_python):
    run(socs_python, "-c", MAKE, str(tmp_path / "theirs.db"), "/a")
    with closing(SupRsyncFilesManager(db_path)) as manager:
        manager.create_file("/a", "remote/a", "smurf", local_md5sum="md5", timestamp=5.0)
    assert json.dumps(rows(db_path)) == json.dumps(rows(tmp_path / "theirs.db"))
