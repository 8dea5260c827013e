"""Messages that are alike become lines together, and the lines are those of each message by itself."""

import math

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from ocs.feeds.packed import PackedData, PackedReader
from ocs.influx.lines import exactly, in_microseconds
from ocs.influx.points import message_lines
from ocs.influx.runs import run_lines, runs_of
from tests.harness.publishing import envelope, message

ANY = st.one_of(st.floats(), st.just(math.nan), st.just(math.inf))
ROWS = st.lists(st.tuples(st.floats(-1e11, 1e11), ANY, ANY), min_size=1, max_size=3)
KINDS = st.sampled_from([float, int, str])
MESSAGES = st.lists(st.tuples(st.sampled_from("ab"), KINDS, ROWS), max_size=30)


def event(feed, kind, rows):
    times, first, second = map(list, zip(*rows, strict=True))
    if kind is not float:
        second = [kind(7) for _ in second]
    return [message(times, x=first, **{"y, =%": second}), envelope(feed)]


def frame(event):
    return cbor2.dumps([36, 2**40, 2**41, {"topic": event[1]["address"]}, [event]])


def received(events):
    """What a publisher gets of them: from the second one of a kind on, they are packed."""
    reader = PackedReader()
    for one in events:
        found = reader(frame(one))
        yield tuple(found[1][0] if found else one)


def by_feed(rows):
    return {feed: [row for row in rows if f",feed={feed} " in row] for feed in "ab"}


@given(MESSAGES, st.sampled_from([exactly, in_microseconds]))
def test_together_they_say_what_each_says_feed_by_feed_in_order(messages, nanoseconds):
    events = [event(*one) for one in messages]
    each = [message_lines(*one, nanoseconds) for one in events]
    together = [run_lines(run, nanoseconds) for run in runs_of(received(events))]
    alone, joined = ([row for lines in found for row in lines.rows] for found in (each, together))
    assert values(by_feed(joined)) == values(by_feed(alone))
    for reason in ("not_finite", "time"):
        assert sum(lines.left_out[reason] for lines in together) == sum(lines.left_out[reason] for lines in each)


def values(rows_by_feed):
    """The lines with their fields in no order: a field with gaps stands behind those without."""
    return {feed: [sorted(row.replace(" ", ",").split(",")) for row in rows] for feed, rows in rows_by_feed.items()}


def steady(count, feed="a", start=0):
    return [event(feed, float, [(float(n), n / 3, -n / 7)]) for n in range(start, start + count)]


def test_messages_that_are_alike_are_one_run():
    found = list(runs_of(received(steady(20))))
    assert [len(run.messages) for run in found] == [1, 19]
    assert isinstance(found[1].messages[0], PackedData)


def test_feeds_that_take_turns_are_a_run_each():
    turns = [one for pair in zip(steady(20, "a"), steady(20, "b"), strict=True) for one in pair]
    assert sorted(len(run.messages) for run in runs_of(received(turns))) == [1, 1, 19, 19]


def test_a_message_of_another_make_ends_its_feeds_run():
    events = [*steady(5), event("a", str, [(5.0, 1.0, 0.0)]), *steady(5, start=6)]
    times = [int(row.split()[-1]) for run in runs_of(received(events)) for row in run_lines(run, int).rows]
    assert times == list(range(11))


def test_a_run_is_bounded():
    large = [event("a", float, [(float(n), 1.5, 2.5) for n in range(k * 10_000, (k + 1) * 10_000)]) for k in range(12)]
    assert [len(run.messages) for run in runs_of(received(large))] == [1, 5, 5, 1]


def test_messages_that_name_no_agent_are_counted_one_by_one():
    odd = [[data, {**feed, "agent_address": 'a"b'}] for data, feed in steady(5)]
    assert sum(run_lines(run).left_out["envelope"] for run in runs_of(received(odd))) == 5
