"""What programs print, made into lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.host_manager.docker.text import Lines, last_words, one_line, warnings


@given(st.binary(), st.lists(st.integers(0, 50)))
def test_lines_are_the_same_however_they_come(data, cuts):
    whole = list(Lines().feed(data + b"\n"))
    pieces, lines, start = [], Lines(), 0
    for cut in cuts:
        pieces += lines.feed(data[start : start + cut])
        start += cut
    pieces += lines.feed(data[start:] + b"\n")
    assert pieces == whole


def test_a_line_without_an_end_is_not_gathered_for_ever():
    lines = Lines()
    found = [line for _piece in range(100) for line in lines.feed(b"x" * 10_000)]
    assert sum(map(len, found)) > 900_000


@given(st.text())
def test_one_line_is_one_short_printable_line(text):
    assert one_line(text, 50).isprintable()
    assert len(one_line(text, 50)) <= 50


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (" Container a  Starting\nError response from daemon: no\n", "Error response from daemon: no"),
        (" Container a  Starting\n", "Container a Starting"),
        ('time="x" level=warning msg="not set"\nboom\n', "boom"),
        ('time="x" level=error msg="so \\"it\\" is"\n', 'so "it" is'),
        ("a\nb\nc\nd\n", "b; c; d"),
        ("", ""),
    ],
)
def test_the_reason_is_what_tells_of_no_progress(printed, reason):
    assert last_words(printed) == reason


@given(st.text())
def test_any_output_has_a_reason_and_warnings(text):
    assert last_words(text).isprintable()
    assert all(line.isprintable() for line in warnings(text))
