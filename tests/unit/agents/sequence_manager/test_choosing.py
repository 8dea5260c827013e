"""What a configuration and a provision come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.sequence_manager.choosing import (
    Situation,
    Unassigned,
    assign,
    component_names,
    conflicts,
    mode_states,
    plan_provision,
    resource_states,
)
from ocs.agents.sequence_manager.obs_modes import ObsMode, SequencerWanted
from ocs.components.names import Prefix


def prefix(text):
    return Prefix.parse(text)


def mode(name, resources, *subsystems):
    return ObsMode(name, tuple(resources), tuple(SequencerWanted(Prefix(each, name)) for each in subsystems))


MODES = {
    each.name: each
    for each in (
        mode("dark", ["camera"], "ESW", "TCS"),
        mode("flat", ["camera", "lamp"], "ESW"),
        mode("idle", [], "ESW"),
    )
}


def situation(components=(), sequencers=None, agents=("ESW.primary",)):
    own = {prefix(each): prefix("ESW.primary") for each in components}
    return Situation(
        frozenset(map(prefix, agents)),
        own,
        {prefix(key): value and prefix(value) for key, value in (sequencers or {}).items()},
    )


def test_a_mode_is_in_the_way_as_long_as_one_of_its_sequencers_is_there():
    there = situation(["ESW.a"], {"TCS.dark": "ESW.a"})
    assert conflicts(MODES["flat"], MODES, there) == {"camera": ["dark"]}
    assert conflicts(MODES["idle"], MODES, there) == {}
    assert conflicts(MODES["dark"], MODES, there) == {}


def test_a_sequencer_goes_to_its_own_subsystem_first_then_to_esw():
    idle = [prefix(each) for each in ("ESW.a", "ESW.b", "TCS.a")]
    chosen = assign(MODES["dark"].sequencers, idle)
    assert {str(key.prefix): str(place) for key, place in chosen.items()} == {"ESW.dark": "ESW.a", "TCS.dark": "TCS.a"}
    chosen = assign(MODES["dark"].sequencers, idle[:2])
    assert {str(key.prefix): str(place) for key, place in chosen.items()} == {"ESW.dark": "ESW.a", "TCS.dark": "ESW.b"}


def test_a_sequencer_without_a_place_is_told():
    assert assign(MODES["dark"].sequencers, [prefix("ESW.a")]) == Unassigned((MODES["dark"].sequencers[1],))


_prefixes = st.builds(Prefix, st.sampled_from(["ESW", "TCS", "IRIS"]), st.sampled_from("abcdefg"))


@given(idle=st.sets(_prefixes), subsystems=st.lists(st.sampled_from(["ESW", "TCS", "IRIS"]), unique=True))
def test_no_place_is_given_twice_and_none_is_wasted(idle, subsystems):
    wanted = [SequencerWanted(Prefix(each, "m")) for each in subsystems]
    chosen = assign(wanted, idle)
    own = sum(1 for each in subsystems if any(place.subsystem == each for place in idle))
    spare = sum(1 for place in idle if place.subsystem == "ESW") - ("ESW" in subsystems)
    if isinstance(chosen, Unassigned):
        assert len(chosen.sequencers) == len(wanted) - own - max(0, spare)
    else:
        assert len(set(chosen.values())) == len(wanted)
        assert all(place.subsystem in (each.prefix.subsystem, "ESW") for each, place in chosen.items())


def test_what_is_missing_is_spawned_under_free_names():
    plan = plan_provision({prefix("ESW.primary"): 3}, situation(["ESW.primary_2"]))
    assert plan.spawn == {prefix("ESW.primary"): ["primary_1", "primary_3"]}
    assert (plan.kill, list(map(str, plan.kept))) == ([], ["ESW.primary_2"])


def test_what_is_too_many_is_killed_idle_ones_only():
    there = situation([f"ESW.primary_{n}" for n in (1, 2, 10)], {"ESW.dark": "ESW.primary_10"})
    plan = plan_provision({prefix("ESW.primary"): 1}, there)
    assert list(map(str, plan.kill)) == ["ESW.primary_1", "ESW.primary_2"]
    assert list(map(str, plan.kept)) == ["ESW.primary_10"]
    plan = plan_provision({prefix("ESW.primary"): 0}, there)
    assert {str(key): str(value) for key, value in plan.busy.items()} == {"ESW.primary_10": "ESW.dark"}
    assert plan_provision({prefix("ESW.primary"): 0}, there, force=True).busy == {}


def test_the_highest_numbers_go_first():
    there = situation([f"ESW.primary_{n}" for n in (1, 2, 10)])
    assert list(map(str, plan_provision({prefix("ESW.primary"): 2}, there).kill)) == ["ESW.primary_10"]


def test_an_agent_that_is_not_there_is_told():
    plan = plan_provision({prefix("ESW.gone"): 1, prefix("ESW.away"): 0}, situation())
    assert (list(map(str, plan.unknown)), plan.spawn) == (["ESW.gone"], {})


def test_agents_that_are_not_named_keep_what_they_have():
    plan = plan_provision({prefix("ESW.other"): 0}, situation(["ESW.primary_1"]))
    assert (plan.kill, plan.kept) == ([], [])


@given(
    have=st.sets(st.integers(1, 12)),
    busy=st.sets(st.integers(1, 12)),
    wanted=st.integers(0, 12),
    force=st.booleans(),
)
def test_a_provision_that_is_carried_out_leaves_nothing_to_do(have, busy, wanted, force):
    agent = prefix("ESW.primary")
    sequencers = {f"ESW.m{n}": f"ESW.primary_{n}" for n in busy & have}
    plan = plan_provision({agent: wanted}, situation([f"ESW.primary_{n}" for n in have], sequencers), force=force)
    left = {Prefix("ESW", f"primary_{n}") for n in have} - set(plan.kill)
    left |= {Prefix("ESW", name) for name in plan.spawn.get(agent, [])}
    assert len(left) == wanted + len(plan.busy)
    assert not plan.busy or not force
    again = plan_provision(
        {agent: wanted},
        situation(map(str, left), {key: value for key, value in sequencers.items() if prefix(value) in left}),
    )
    assert (again.spawn, again.kill) == ({}, [])


@pytest.mark.parametrize("taken", [[], ["ESW.p_1"], ["ESW.p_2", "TCS.p_1"]])
def test_names_are_free_and_differ(taken):
    names = component_names(prefix("ESW.p"), 3, [prefix(each) for each in taken])
    assert len(set(names)) == 3
    assert not {f"ESW.{name}" for name in names} & set(taken)


def test_each_mode_has_a_state():
    there = situation(["ESW.a", "ESW.b", "ESW.c"], {"ESW.dark": "ESW.a", "TCS.dark": "ESW.b"})
    states = mode_states(MODES, there)
    assert {name: told["state"] for name, told in states.items()} == {
        "dark": "configured",
        "flat": "blocked",
        "idle": "configurable",
    }
    assert states["flat"]["resources_held"] == {"camera": ["dark"]}
    assert mode_states(MODES, situation(["ESW.a"], {"ESW.dark": "ESW.a"}))["dark"]["state"] == "in part"
    assert mode_states(MODES, situation())["idle"]["no_component_for"] == ["ESW.idle"]


def test_each_resource_has_its_holders():
    held = resource_states(MODES, situation(["ESW.a"], {"ESW.dark": "ESW.a"}))
    assert held == [{"resource": "camera", "held_by": ["dark"]}, {"resource": "lamp", "held_by": []}]
