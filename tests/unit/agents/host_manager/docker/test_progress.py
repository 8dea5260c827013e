"""Progress, as a bounded number of lines."""

from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.host_manager.docker.progress import MOST_LINES, Failures, Progress


def test_downloads_are_told_twice_a_second_and_ends_always():
    said, now = [], [0.0]
    progress = Progress(said.append, lambda: now[0])
    for number in range(100):
        now[0] += 0.01
        progress(f" layer Downloading {number} MB")
    progress(" ocs-a Pulled ")
    assert said == ["layer Downloading 0 MB", "layer Downloading 50 MB", "ocs-a Pulled"]


@given(st.lists(st.text()))
def test_any_lines_are_told_in_short_printable_ones(lines):
    said = []
    progress = Progress(said.append, lambda: float(len(said)))
    for line in lines:
        progress(line)
    assert all(line.isprintable() and 0 < len(line) <= 300 for line in said)


def test_there_is_an_end_to_the_lines():
    said = []
    progress = Progress(said.append, lambda: 0.0)
    for number in range(2 * MOST_LINES):
        progress(f"{number} failed")
    assert len(said) == MOST_LINES
    assert said[-1].endswith("(and more, which is not told)")


def test_failures_are_told_by_service():
    failures = Failures()
    for line in (
        " ocs-a Pulling ",
        " ocs-b Pulled ",
        " ocs-a Error manifest unknown",
        " ! ocs-c Warning no such host ",
    ):
        failures.take(line)
    assert failures.text == "ocs-a: manifest unknown; ocs-c: no such host"


@given(st.lists(st.text()))
def test_any_lines_are_taken(lines):
    failures = Failures()
    for line in lines:
        failures.take(line)
    assert failures.text.isprintable()
