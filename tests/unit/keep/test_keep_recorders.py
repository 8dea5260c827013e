"""The recorders that an agent knows: who is away, who is forgotten, what all have."""

from ocs.keep.recorders import FORGET_LAST_S, FORGET_S, MOST_RECORDERS, Recorders


def known(**contacts):
    recorders = Recorders()
    for name, contact in contacts.items():
        recorders.meet(name, 1.0, contact)
    return recorders


def test_who_calls_in_time_is_not_away():
    recorders = known(a=10.0)
    assert not recorders.away(12.5)
    assert recorders.away(12.6)
    recorders.meet("a", 10.0, 12.6)
    assert not recorders.away(37.6)


def test_all_have_what_the_one_with_the_least_has():
    recorders = known(a=0.0, b=0.0)
    recorders.known["a"].have["run"] = 7
    assert (recorders.floor("run"), recorders.floor("other")) == (0, 0)
    recorders.known["b"].have["run"] = 5
    assert recorders.floor("run") == 5
    recorders.leave("b")
    assert recorders.floor("run") == 7
    recorders.leave("a")
    recorders.leave("a")
    assert recorders.floor("run") is None


def test_a_recorder_silent_for_a_day_is_forgotten_beside_one_that_calls():
    recorders = known(a=0.0, b=FORGET_S)
    assert recorders.forget(FORGET_S) == []
    assert recorders.forget(FORGET_S + 1) == ["a"]
    assert list(recorders.known) == ["b"]


def test_the_last_recorder_gets_a_week():
    recorders = known(a=0.0, b=10.0)
    assert recorders.forget(FORGET_LAST_S) == []
    assert recorders.forget(FORGET_LAST_S + 5) == ["a"]
    assert recorders.forget(FORGET_LAST_S + 11) == ["b"]
    assert not recorders


def test_of_too_many_the_longest_silent_goes():
    recorders = known(**{f"r{number}": float(number) for number in range(MOST_RECORDERS)})
    recorders.meet("r0", 1.0, 100.0)
    recorders.meet("new", 1.0, 0.0)
    assert len(recorders.known) == MOST_RECORDERS
    assert {"r0", "new"} <= recorders.known.keys()
    assert "r1" not in recorders.known
