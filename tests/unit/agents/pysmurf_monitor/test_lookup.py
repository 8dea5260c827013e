"""Files are found in the table by the registrar's index."""

import pytest

from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.lookup import rows_of
from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.registrar import Registrar
from ocs.agents.pysmurf_monitor.state import State


def item(name):
    made = Item(Announcement(f"/data/{name}", "p", "smurf", f"remote/{name}", True, 1.0))
    made.md5 = "0" * 32
    return made


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "state.sqlite")
    yield state
    state.close()


@pytest.mark.parametrize("turns", [1, 2])
def test_files_in_the_table_are_found_with_their_remote_paths(tmp_path, state, turns):
    db_path = tmp_path / "suprsync.db"
    registrar = Registrar(db_path, state)
    for turn in range(turns):  # after the second the first is in the index
        batch = [item(f"{turn}-{number}") for number in range(10)]
        registrar.enter(batch)
        registrar.note(cursor=0, done=batch, put_off=[])
    registrar.close()
    assert rows_of(str(db_path), state, ["/data/0-3", "/data/none", "/data/0-9"]) == {
        "/data/0-3": "remote/0-3",
        "/data/0-9": "remote/0-9",
    }


def test_without_a_database_nothing_is_found(tmp_path, state):
    assert rows_of(str(tmp_path / "none.db"), state, ["/data/a"]) == {}
    (tmp_path / "bad.db").write_bytes(b"no database" * 100)
    assert rows_of(str(tmp_path / "bad.db"), state, ["/data/a"]) == {}
