"""Several machines, of which one is cut off, killed or without power: each answer is in time, and the status right.

The machines are network namespaces; a SpawnAgent runs on each, router and agent service on the hub between them.
"""

import pytest

from tests.harness.several_machines import several_machines
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.slow]

HOSTS = ["north", "south", "east"]
WELL_WITHIN = 10.0
"""Half of what the contract allows for a spawn, in seconds: the router's pings take 3 s, all else is quick."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A router that misses a silent machine within 3 s."""
    with several_machines(tmp_path_factory.mktemp("machines"), HOSTS) as running:
        yield running


def begin_to_spawn(site, host, component):
    """Ask for a component, and wait until its process is there."""
    answer = site.begin_to(site.spawn, host, component)
    wait_for(lambda: site.living(component) == [host])
    return answer


def test_what_is_spawned_is_on_that_machine_and_on_no_other(site):
    assert site.spawn("north", "good") == {"_type": "Spawned"}
    assert site.status() == {"north": ["good"], "south": [], "east": [], "": []}
    assert site.living("good") == ["north"]
    second = site.spawn("south", "good")
    assert second["_type"] == "Failed"
    assert "SequenceComponent ESW.good is registered already: on north, process " in second["msg"]
    assert site.living("good") == ["north"]


def test_of_spawns_on_several_machines_at_the_same_moment_exactly_one_succeeds(site):
    asked = [site.begin_to(site.spawn, host, "good-race") for host in HOSTS]
    kinds = {host: each.result().kind for host, each in zip(HOSTS, asked, strict=True)}
    assert sorted(kinds.values()) == ["Failed", "Failed", "Spawned"]
    winner = [host for host, kind in kinds.items() if kind == "Spawned"]
    assert site.where("good-race") == winner
    assert site.living("good-race") == winner


def test_a_machine_cut_off_in_mid_spawn_is_told_and_what_it_spawned_is_there_once_it_is_back(site):
    asked = begin_to_spawn(site, "north", "good-slow-cut")
    with site.network.cut_off("north"):
        told = asked.result()
        assert told.kind == "Failed"
        assert 1 < told.took < WELL_WITHIN  # by the router's pings: the cut itself tells nobody
        assert told.text.startswith("SpawnAgent ESW.north on north: ")
        assert "whether SequenceComponent ESW.good-slow-cut has been spawned is not known" in told.text
        wait_for(lambda: "north" not in site.status())
    wait_for(lambda: site.where("good-slow-cut") == ["north"])
    assert site.living("good-slow-cut") == ["north"]


def test_a_spawn_agent_killed_in_mid_spawn_is_told_and_what_it_spawned_is_there_with_the_next(site):
    asked = begin_to_spawn(site, "south", "good-slow-kill")
    site.spawn_agents["south"].kill()
    told = asked.result()
    assert told.kind == "Failed"
    assert told.took < WELL_WITHIN
    assert told.text.startswith("SpawnAgent ESW.south on south: ")
    assert "whether SequenceComponent ESW.good-slow-kill has been spawned is not known" in told.text
    wait_for(lambda: "south" not in site.status())
    wait_for(lambda: site.where("good-slow-kill") == [""])  # it needs no SpawnAgent to be there
    site.start_spawn_agent("south")
    site.wait_for_machines("south")
    wait_for(lambda: site.spawn_agent_says("south", "good-slow-kill").get("state") == "running")
    assert site.where("good-slow-kill") == ["south"]
    assert site.living("good-slow-kill") == ["south"]
    assert site.kill("good-slow-kill") == {"_type": "Killed"}
    assert site.living("good-slow-kill") == []


def test_what_is_on_a_machine_that_is_cut_off_is_not_killed_and_told_to_be_not(site):
    site.spawn("north", "good-far")
    with site.network.cut_off("north"):
        told = site.begin_to(site.kill, "good-far").result()
        assert told.kind == "Failed"
        assert told.took < WELL_WITHIN
        assert "whether SequenceComponent ESW.good-far has been killed is not known" in told.text
        wait_for(lambda: site.where("good-far") == [])
        again = {"_type": "Failed", "msg": "SequenceComponent ESW.good-far is not registered"}
        assert site.kill("good-far") == again
    site.wait_for_machines("north")
    wait_for(lambda: site.where("good-far") == ["north"])
    assert site.living("good-far") == ["north"]
    assert site.kill("good-far") == {"_type": "Killed"}
    assert site.living("good-far") == []


def test_what_comes_back_and_finds_its_name_with_another_ends_itself(site):
    site.spawn("north", "good-twin")
    with site.network.cut_off("north"):
        wait_for(lambda: site.where("good-twin") == [], WELL_WITHIN)
        assert site.spawn("south", "good-twin") == {"_type": "Spawned"}
        assert sorted(site.living("good-twin")) == ["north", "south"]
    wait_for(lambda: site.living("good-twin") == ["south"])
    assert site.where("good-twin") == ["south"]
    site.wait_for_machines("north")
    exits = wait_for(lambda: site.spawn_agent_says("north", "good-twin").get("exits"))
    assert [each["code"] for each in exits] == [1]
    said = [line for line in site.output_of("north", "good-twin").splitlines() if line.startswith("seqcomp-esw-")]
    assert len(said) == 1
    assert " is registered already: on south, process " in said[0]


def test_what_a_machine_without_power_had_is_spawned_on_another(tmp_path):
    with several_machines(tmp_path, ["north", "south"]) as site:
        assert site.spawn("north", "good") == {"_type": "Spawned"}
        site.network.power_off("north")
        wait_for(lambda: site.where("good") == [], WELL_WITHIN)
        assert site.spawn("south", "good") == {"_type": "Spawned"}
        assert site.status() == {"south": ["good"], "": []}
        site.network.power_on("north")
        site.start_spawn_agent("north")
        site.wait_for_machines("north")
        assert site.status() == {"north": [], "south": ["good"], "": []}
        assert site.living("good") == ["south"]


def test_what_never_registers_is_left_neither_where_a_machine_is_cut_off_nor_where_a_spawn_agent_is_killed(tmp_path):
    """By the router's usual pings, which miss a machine later than a spawn has to be answered."""
    with several_machines(tmp_path, ["north", "south"], pings=None) as site:
        cut, killed = [begin_to_spawn(site, host, f"silent-{host}") for host in site.names]
        with site.network.cut_off("north"):
            site.spawn_agents["south"].kill()
            site.start_spawn_agent("south")
            assert killed.result().kind == "Failed"
            assert killed.result().took < WELL_WITHIN
            assert cut.result().kind == "Failed"
            assert cut.result().took < 20
            assert "SpawnAgent ESW.north on north has not answered within 19.5 s" in cut.result().text
            wait_for(lambda: not site.living("silent-north") and not site.living("silent-south"))
        wait_for(lambda: site.status() == {"north": [], "south": [], "": []})
