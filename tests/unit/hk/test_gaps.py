"""What is missing, and why."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.hk import UnknownFieldError, gaps
from ocs.hk.gaps import Gap, Note, common, find_gaps, off_spans, united, usual_spacing, without
from tests.harness.g3_files import START, G3File

FEED, AGENT = "o.a.feeds.b", "o.a"
NAN = math.nan


def note(kind, subject, noted, since=NAN, until=NAN, samples=0, detail=""):
    return Note(noted, kind, subject, since, until, samples, detail)


def steady(*ranges):
    """Samples every second from, up to and including."""
    return np.concatenate([np.arange(first, last + 1, dtype=float) for first, last in ranges])


def test_steady_samples_have_no_gap():
    assert find_gaps(FEED, [steady((0, 100))]) == []


def test_a_stretch_without_samples_is_no_data():
    assert find_gaps(FEED, [steady((0, 10), (30, 40))]) == [Gap(FEED, 10, 30, "no data")]


def test_a_few_samples_late_are_no_gap():
    assert find_gaps(FEED, [steady((0, 10), (15, 40))]) == []
    assert len(find_gaps(FEED, [steady((0, 10), (15.5, 40))])) == 1


def test_shorter_gaps_than_asked_for_are_left_out():
    assert find_gaps(FEED, [steady((0, 10), (30, 40), (90, 99))], longer_than=20) == [Gap(FEED, 40, 90, "no data")]


def test_while_one_block_has_samples_there_is_no_gap():
    assert find_gaps(FEED, [steady((0, 10), (30, 40)), steady((8, 33))]) == []


def test_blocks_that_are_measured_one_after_the_other_have_the_spacing_of_each():
    times = np.arange(0, 600, 60.0)
    assert find_gaps(FEED, [times, times + 0.01, times + 0.02]) == []


def test_the_ends_count_if_they_are_given():
    assert find_gaps(FEED, [steady((10, 20))], start=0, stop=50) == [
        Gap(FEED, 0, 10, "no data"),
        Gap(FEED, 20, 50, "no data"),
    ]
    assert find_gaps(FEED, [], start=0, stop=50) == [Gap(FEED, 0, 50, "no data")]
    assert find_gaps(FEED, [], start=0) == []


def test_between_off_and_on_the_agent_was_off():
    notes = [note("off", AGENT, 15, since=12), note("on", AGENT, 28)]
    assert find_gaps(FEED, [steady((0, 5), (35, 40))], notes) == [
        Gap(FEED, 5, 12, "no data"),
        Gap(FEED, 12, 28, "agent off"),
        Gap(FEED, 28, 35, "no data"),
    ]


def test_an_agent_that_is_off_while_there_is_data_makes_no_gap():
    assert find_gaps(FEED, [steady((0, 40))], [note("off", AGENT, 10), note("on", AGENT, 20)]) == []


def test_another_agents_absence_explains_nothing():
    notes = [note("off", "o.other", 10), note("off", "o.a.feeds", 10)]
    assert find_gaps(FEED, [steady((0, 10), (30, 40))], notes) == [Gap(FEED, 10, 30, "no data")]


def test_an_agent_that_never_came_back_is_off():
    assert find_gaps(FEED, [steady((0, 10))], [note("off", AGENT, 11)], stop=100) == [Gap(FEED, 11, 100, "agent off")]


def test_what_is_noted_as_lost_is_lost():
    lost = note("lost", FEED, 31, 11, 29, 19, "the disk was full")
    assert find_gaps(FEED, [steady((0, 10), (30, 40))], [lost]) == [Gap(FEED, 11, 29, "lost", 19, "the disk was full")]


def test_what_is_lost_between_samples_that_are_there_is_told_too():
    lost = note("lost", FEED, 31, 3, 4, 1)
    assert find_gaps(FEED, [steady((0, 40))], [lost]) == [Gap(FEED, 3, 4, "lost", 1)]


def test_the_rest_of_a_stretch_that_is_lost_in_part_is_told_apart():
    notes = [note("lost", FEED, 31, 20, 30, 9), note("off", AGENT, 32), note("on", AGENT, 50)]
    assert find_gaps(FEED, [steady((0, 10), (60, 70))], notes) == [
        Gap(FEED, 10, 20, "no data"),
        Gap(FEED, 20, 30, "lost", 9),
        Gap(FEED, 32, 50, "agent off"),
        Gap(FEED, 50, 60, "no data"),
    ]


def test_a_loss_at_an_unknown_time_is_told():
    (gap, other) = find_gaps(FEED, [steady((0, 10), (30, 40))], [note("lost", FEED, 31, NAN, NAN, 5)])
    assert (gap.kind, gap.samples, math.isnan(gap.since)) == ("lost", 5, True)
    assert other == Gap(FEED, 10, 30, "no data")


def test_what_an_agent_lost_without_knowing_of_which_feed_is_told_of_each():
    (gap,) = find_gaps(FEED, [steady((0, 40))], [note("lost", AGENT, 31, 3, 4, 0, "5 messages")])
    assert gap == Gap(FEED, 3, 4, "lost", 0, "5 messages")


def test_what_was_lost_of_feeds_that_have_no_samples_is_told_too(tmp_path):
    fields = {"kind": ["lost"], "subject": ["o.b.feeds.c"], "since": [1.0], "until": [2.0]}
    file = G3File(tmp_path / "1.g3").block([START], "t", FEED, x=[1.0])
    file.block([START], "notes", "o.aggregator.feeds.notes", samples=[7], detail=["all of it"], **fields)

    assert gaps(tmp_path) == [Gap("o.b.feeds.c", 1.0, 2.0, "lost", 7, "all of it")]
    assert gaps(tmp_path, FEED) == []
    assert gaps(tmp_path, start=3.0, stop=START) == [Gap(FEED, 3.0, START, "no data")]


def test_two_recorders_that_note_the_same_count_once():
    notes = [note("lost", FEED, noted, 11, 29, 19) for noted in (31, 32)]
    notes += [note("off", AGENT, 50), note("off", AGENT, 51), note("on", AGENT, 60), note("on", AGENT, 61)]
    assert find_gaps(FEED, [steady((0, 10), (30, 50), (60, 70))], notes) == [
        Gap(FEED, 11, 29, "lost", 19),
        Gap(FEED, 50, 60, "agent off"),
    ]


def test_losses_outside_the_span_are_left_out():
    notes = [note("lost", FEED, 31, 11, 29, 19)]
    assert find_gaps(FEED, [steady((50, 60))], notes, start=50, stop=60) == []
    assert len(find_gaps(FEED, [steady((0, 60))], notes, start=0, stop=12)) == 1


spans = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)).map(lambda s: (float(s[0]), float(s[0] + s[1]))))


def seconds_in(some):
    return {second for since, until in some for second in range(int(since), int(until))}


@given(spans, spans)
def test_spans_are_sets_of_moments(some, others):
    a, b = united(some), united(others)

    assert seconds_in(a) == seconds_in(some)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(a))
    assert seconds_in(common(a, b)) == seconds_in(a) & seconds_in(b)
    assert seconds_in(without(a, b)) == seconds_in(a) - seconds_in(b)


moments = st.lists(st.integers(0, 300).map(float), max_size=40).map(lambda times: np.array(sorted(times)))
notes = st.builds(
    note,
    st.sampled_from(["lost", "off", "on", "refused"]),
    st.sampled_from([FEED, AGENT, "o.other"]),
    st.integers(0, 300).map(float),
    st.one_of(st.just(NAN), st.integers(0, 300).map(float)),
    st.one_of(st.just(NAN), st.integers(0, 300).map(float)),
)


@given(st.lists(moments, max_size=3), st.lists(notes, max_size=6).map(sorted), st.integers(0, 60))
def test_every_long_stretch_is_told_once_and_no_sample_is_in_one(blocks, told, longer_than):
    found = find_gaps(FEED, blocks, told, start=0.0, stop=300.0, longer_than=longer_than)
    empty = [gap for gap in found if gap.kind != "lost"]
    times = np.concatenate([*blocks, np.zeros(0)])

    for gap in empty:
        assert not np.any((times > gap.since) & (times < gap.until))
        assert gap.until - gap.since > longer_than
    ordered = sorted(empty, key=lambda gap: gap.since)
    assert all(one.until <= other.since for one, other in itertools.pairwise(ordered))
    off = off_spans(AGENT, told)
    for gap in empty:
        overlap = common([(gap.since, gap.until)], off)
        assert overlap == ([(gap.since, gap.until)] if gap.kind == "agent off" else [])
    assert sum(gap.kind == "lost" for gap in found) <= sum(one.kind == "lost" for one in told)


@given(st.lists(moments, max_size=3))
def test_without_notes_the_gaps_are_all_that_is_longer_than_usual(blocks):
    found = find_gaps(FEED, blocks)
    times = np.unique(np.concatenate([*blocks, np.zeros(0)]))
    least = 5 * usual_spacing(blocks)
    assert [(gap.since, gap.until) for gap in found] == [(a, b) for a, b in itertools.pairwise(times) if b - a > least]


@pytest.fixture
def archive(tmp_path):
    file = G3File(tmp_path / "1.g3").block(START + steady((0, 10), (30, 40), (70, 80)), "t", FEED, x=np.zeros(33))
    fields = {
        "kind": ["lost", "off", "on", "refused"],
        "subject": [FEED, AGENT, AGENT, FEED],
        "since": [START + 11, NAN, NAN, NAN],
        "until": [START + 29, NAN, NAN, NAN],
        "samples": [19, 0, 0, 3],
        "detail": ["no room", "", "", "text"],
    }
    file.block(START + np.array([31.0, 45, 65, 66]), "notes", "o.aggregator.feeds.notes", **fields)
    return tmp_path


def test_an_archive_tells_its_gaps_and_their_reasons(archive):
    assert gaps(archive) == [
        Gap(FEED, START + 11, START + 29, "lost", 19, "no room"),
        Gap(FEED, START + 45, START + 65, "agent off"),
    ]


def test_the_gaps_of_a_feed_and_a_span_may_be_asked_for(archive):
    assert [gap.since - START for gap in gaps(archive, "a.b", START + 40, START + 200)] == [45, 80]
    assert gaps(archive, "b", longer_than=3600) == gaps(archive, FEED)[:1]
    with pytest.raises(UnknownFieldError):
        gaps(archive, "c")


def test_the_notes_themselves_have_no_gaps_unless_asked_for(archive):
    assert {gap.feed for gap in gaps(archive)} == {FEED}
    gaps(archive, "notes")


RECORDER = "observatory.rec"


def own(kind, noted):
    return note(kind, RECORDER, noted)._replace(recorder=RECORDER)


def seen(noted, run):
    return note("on", AGENT, noted, detail=run)._replace(recorder=RECORDER)


def test_a_run_that_began_while_no_recorder_looked_shows_that_the_agent_was_off_meanwhile():
    notes = [own("on", 0), seen(1, "0.5"), own("off", 11), own("on", 40), seen(41, "35.0")]
    assert find_gaps(FEED, [steady((1, 10), (36, 50))], notes) == [Gap(FEED, 11, 35, "agent off")]


def test_an_agent_that_went_on_while_the_recorder_was_away_was_not_off():
    notes = [own("on", 0), seen(1, "0.5"), own("off", 11), own("on", 40), seen(41, "0.5")]
    assert find_gaps(FEED, [steady((1, 11), (40, 50))], notes) == [Gap(FEED, 11, 40, "recorder off")]
