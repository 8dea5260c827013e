"""The number by which a path is looked up."""

from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.pysmurf_monitor.seen import key_of


@given(st.text())
def test_any_path_has_a_key_that_sqlite_can_hold(path):
    assert -(2**63) <= key_of(path.encode(errors="replace").decode()) < 2**63


def test_a_key_stays_the_same_over_restarts_and_versions():
    assert [key_of("/data/a.npy"), key_of(""), key_of("/\udcff")] == KEYS


def test_files_of_a_folder_lie_side_by_side():
    assert len({key_of(f"/data/{number}") >> 32 for number in range(100)}) == 1
    assert len({key_of(f"/data/{number}") for number in range(100)}) == 100


KEYS = [4972612131436731394, 1329071123181195045, 1329071124759787001]
