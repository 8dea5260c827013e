"""How a reading of the site config file changes the records."""

from ocs.agents.host_manager.roster import Roster
from ocs.agents.host_manager.runner import NO_RUNNER
from ocs.site_config import InstanceConfig


def config(name, manage="host/up", **more):
    return InstanceConfig.from_dict({"instance-id": name, "agent-class": "A", "manage": manage, **more})


class Running:
    status = (True, None)


def roster(*configs):
    made = Roster(lambda _record: NO_RUNNER)
    made.take_reading(configs)
    return made


def test_records_are_made_in_the_order_of_the_file_with_its_targets():
    found = roster(config("b"), config("a", "host/down"), config("c", "docker/up"))
    assert [(each.instance_id, each.target_state, each.management) for each in found.values()] == [
        ("b", "up", "host"),
        ("a", "down", "host"),
        ("c", "up", "docker"),
    ]
    assert [each.agent_script for each in found.values()] == ["__plugin__", "__plugin__", "ocs-c"]
    assert [each.agent_class for each in found.values()] == ["A", "A", "A[d?]"]
    assert [each.operable for each in found.values()] == [True, True, False]
    assert found["c"].full_name == "A[d?]:c"


def test_a_reload_leaves_targets_of_known_instances_alone():
    found = roster(config("a"))
    found["a"].target_state = "down"
    found.take_reading([config("a"), config("b")])
    assert found["a"].target_state == "down"
    assert found["b"].target_state == "up"


def test_what_is_gone_is_brought_down_and_forgotten_then():
    found = roster(config("a"), config("b"))
    found.take_reading([config("b")])
    assert (found["a"].management, found["a"].target_state) == ("retired", "down")
    assert found.drop_retired() == []
    found["a"].retired = True
    assert [each.instance_id for each in found.drop_retired()] == ["a"]
    assert list(found) == ["b"]


def test_what_comes_back_before_it_is_down_is_kept():
    found = roster(config("a"))
    found.take_reading([])
    found.take_reading([config("a")])
    assert (found["a"].management, found["a"].target_state, found["a"].retired) == ("host", "up", False)


def test_what_moves_into_a_container_is_ended_first_and_then_admitted_anew():
    found = roster(config("a"))
    found.take_reading([config("a", "docker/up")])
    assert found["a"].management == "retired"
    found["a"].retired = True
    found.drop_retired()
    found.admit()
    assert (found["a"].management, found["a"].agent_script) == ("docker", "ocs-a")


def test_changed_arguments_require_a_restart_of_what_runs():
    found = roster(config("a"), config("b"))
    found["a"].prot = Running()
    found.take_reading([config("a", arguments=["--x"]), config("b", arguments=["--x"])])
    assert (found["a"].restart_required, found["b"].restart_required) == (True, False)


def test_what_is_new_in_the_file_is_listed_where_it_stands_there():
    found = roster(config("a"), config("c"))
    found.take_reading([config("a"), config("b"), config("c")])
    assert list(found) == ["a", "b", "c"]


def test_start_level_and_restart_count_at_once():
    found = roster(config("a"))
    found["a"].prot = Running()
    found.take_reading([config("a", **{"start-level": 3, "restart": "manual"})])
    assert (found["a"].start_level, found["a"].restart, found["a"].restart_required) == (3, "manual", False)


def test_a_reading_tells_what_has_changed():
    found = roster(config("a"))
    assert [(change.kind, change.instance_id) for change in found.take_reading([config("b")])] == [
        ("added", "b"),
        ("removed", "a"),
    ]
