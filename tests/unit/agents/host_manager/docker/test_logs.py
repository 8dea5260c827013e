"""A container's two outputs in one order."""

from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.host_manager.docker.logs import MOST_LINES, logs_call, merge_logs


def test_lines_come_in_the_order_of_their_times_without_them():
    out = "2026-11-22T23:52:24.100000000Z one\n2026-11-22T23:52:24.300000000Z three\r\n"
    err = "2026-11-22T23:52:24.200000000Z two\n2026-11-22T23:52:24.400000000Z \n"
    assert merge_logs(out, err, 10) == ["one", "two", "three", ""]
    assert merge_logs(out, err, 2) == ["three", ""]


@given(st.text(), st.text(), st.integers(-5, 20))
def test_any_output_gives_no_more_lines_than_were_asked_for(out, err, lines):
    assert len(merge_logs(out, err, lines)) <= max(1, lines)


def test_docker_is_asked_for_a_sane_number_of_lines():
    assert logs_call("ab", 10**9)[-2] == str(MOST_LINES)
    assert logs_call("ab", -3)[-2] == "1"
