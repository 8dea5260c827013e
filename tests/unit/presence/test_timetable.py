"""The order of keys by when they were touched last."""

from hypothesis import given
from hypothesis import strategies as st

from ocs.presence.timetable import Timetable

KEYS = st.sampled_from("abcdefgh")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("touch"), KEYS, st.floats(0, 10)),
        st.tuples(st.just("hurry"), KEYS, st.just(0.0)),
        st.tuples(st.just("forget"), KEYS, st.just(0.0)),
    )
)


@given(STEPS, st.floats(-1, 100), st.integers(1, 10))
def test_overdue_are_exactly_the_keys_touched_before(steps, before, limit):
    table, model, now = Timetable(), {}, 0.0
    for verb, key, delay in steps:
        now += delay
        if verb == "touch":
            table.touch(key, now)
            model[key] = now
        elif verb == "hurry":
            table.hurry(key)
            model[key] = float("-inf")
        else:
            table.forget(key)
            model.pop(key, None)
    found = table.overdue(before, limit)
    expected = sorted(when for when in model.values() if when < before)[:limit]
    assert [when for _, when in found] == expected
    assert all(model[key] == when for key, when in found)
    assert len(table) == len(model)


def test_a_time_that_goes_back_counts_as_the_latest_seen():
    table = Timetable()
    table.touch("a", 10.0)
    table.touch("b", 3.0)
    assert table.overdue(10.0, limit=5) == []
    assert [key for key, _ in table.overdue(10.5, limit=5)] == ["a", "b"]


def test_oldest_of_none_is_none():
    assert Timetable().oldest() is None


def test_a_forgotten_key_is_not_in():
    table = Timetable()
    table.touch("a", 1.0)
    table.forget("a")
    table.forget("never there")
    assert "a" not in table
