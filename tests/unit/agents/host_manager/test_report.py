"""The entries of `child_states`, and the line for systemd."""

import time

import pytest

from ocs.agents.host_manager.instances import ManagedInstance, steady_time
from ocs.agents.host_manager.report import child_state, describe_change, status_line
from ocs.agents.host_manager.usage import Usage
from ocs.plain import plain
from ocs.scf.changes import Change


def instance(name="a", **more):
    return ManagedInstance("host", "A", name, f"A:{name}", **more)


def test_an_entry_can_be_sent_and_has_what_is_documented():
    entry = child_state(instance(), {})
    assert plain(entry, "entry") == entry
    assert {"next_action", "target_state", "stability", "agent_class", "instance_id", "operable"} < set(entry)


def test_an_entry_without_a_process_has_the_same_keys_as_one_with():
    from ocs.agents.host_manager.hosted import HostedRunner
    from ocs.supervisor import Child, ChildOutput, Command

    child = Child(Command("a", ("true",), {}), ChildOutput(None, None))
    hosted = instance(prot=HostedRunner(None, child, None, None))
    assert set(child_state(hosted, {7: Usage(1.0, 2)})) == set(child_state(instance(), {}))


def test_the_next_start_is_told_in_the_time_of_the_wall():
    entry = child_state(instance(next_action="start_at", at=steady_time() + 10), {})
    assert entry["next_start"] == pytest.approx(time.time() + 10, abs=1)
    assert child_state(instance(next_action="up", at=steady_time()), {})["next_start"] is None


def test_failures_that_are_long_ago_are_forgotten():
    record = instance(fail_times=[steady_time() - 1000, steady_time() - 10])
    assert child_state(record, {})["stability"] == pytest.approx(0.5, abs=0.01)
    assert len(record.fail_times) == 1


def test_only_what_runs_is_ready():
    assert not child_state(instance(ready=True, next_action="wait_dead"), {})["ready"]


def test_the_line_counts_what_is_to_be_up():
    records = [
        instance("a", target_state="up", next_action="up"),
        instance("b", target_state="up", next_action="start_at"),
        instance("c", target_state="down"),
        instance("crossbar", passive_tracking=True, target_state="passive", next_action="up"),
    ]
    assert status_line(records) == "1 of 2 agents up, 1 meant to be down"
    assert status_line(records[:1]) == "1 of 1 agents up"


def test_changes_are_told_with_what_follows_from_them():
    assert describe_change(Change("added", "a")) == "a has been added in the site config file."
    text = describe_change(Change("changed", "a", ("arguments",)))
    assert text == "a has been changed in the site config file: arguments; it has to be restarted for that to count."
    assert "restarted" not in describe_change(Change("changed", "a", ("restart",)))
