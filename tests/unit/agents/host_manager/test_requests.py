"""What clients may ask for, and what it does to the records."""

import pytest

from ocs.agents.host_manager.instances import ManagedInstance
from ocs.agents.host_manager.requests import apply_requests, apply_restarts, checked_ids, checked_requests
from ocs.params import ParamError


def records(*names, **more):
    made = [ManagedInstance("host", "A", name, f"A:{name}", **more) for name in names]
    crossbar = ManagedInstance("docker", "[docker]", "crossbar", "x", passive_tracking=True, target_state="passive")
    return {each.instance_id: each for each in [*made, crossbar]}


def targets(instances):
    return {name: each.target_state for name, each in instances.items()}


@pytest.mark.parametrize("value", [[], [("a", "up")], [["a", "down"], ["all", "up"]]])
def test_good_requests_are_taken_as_pairs(value):
    assert checked_requests(value) == [tuple(entry) for entry in value]


@pytest.mark.parametrize(
    "value", ["up", 3, {"a": "up"}, ["a"], [("a",)], [("a", "on")], [("a", "up", 1)], [(3, "up")], [("", "up")]]
)
def test_bad_requests_are_refused_and_named(value):
    with pytest.raises(ParamError, match=r"^requests (must be|has)"):
        checked_requests(value)


def test_one_instance_need_not_be_a_list():
    assert checked_ids("a") == ["a"]


@pytest.mark.parametrize("value", [3, [3], {"a": 1}])
def test_bad_instances_are_refused(value):
    with pytest.raises(ParamError, match="instances must be"):
        checked_ids(value)


def test_requests_count_in_their_order():
    found = records("a", "b")
    assert apply_requests(found, [("all", "up"), ("b", "down")]) == []
    assert targets(found) == {"a": "up", "b": "down", "crossbar": "passive"}


def test_all_does_not_mean_what_is_only_watched():
    found = records("a")
    apply_requests(found, [("all", "down"), ("crossbar", "up")])
    assert targets(found) == {"a": "down", "crossbar": "up"}


def test_what_is_not_known_is_named_once_and_the_others_are_set():
    found = records("a")
    assert apply_requests(found, [("x", "up"), ("a", "up"), ("x", "down"), ("y", "up")]) == ["x", "y"]
    assert found["a"].target_state == "up"


def test_what_has_gone_from_the_file_takes_no_requests():
    found = records("a")
    found["a"].management = "retired"
    assert apply_requests(found, [("a", "up"), ("all", "up")]) == ["a"]
    assert found["a"].target_state == "down"


def test_a_wish_for_up_ends_the_back_off():
    found = records("a", next_action="start_at", at=1e12, failures=4)
    apply_requests(found, [("a", "up")])
    assert (found["a"].at, found["a"].failures) == (0, 0)


def test_all_are_restarted_but_those_that_are_to_be_down():
    found = records("a", "b", target_state="up", next_action="up")
    found["b"].target_state = found["b"].next_action = "down"
    assert apply_restarts(found, ["all"]) == []
    assert {name for name, each in found.items() if each.bounce} == {"a"}
    assert found["b"].target_state == "down"


def test_a_restart_of_what_is_down_starts_it():
    found = records("a")
    apply_restarts(found, ["a"])
    assert (found["a"].target_state, found["a"].bounce) == ("up", False)


def test_a_restart_of_what_is_not_known_is_named():
    assert apply_restarts(records("a"), ["x"]) == ["x"]
