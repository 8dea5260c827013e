"""The sequence manager on a real router, with real sequence components and fake-data agents."""

import shutil

import pytest

from tests.harness.examples import DOCS, examples
from tests.harness.waiting import wait_for

EXAMPLES = DOCS / "examples" / "sequences"

MODES = """
obsModes:
  dark:
    resources: [camera]
    sequencers: [ESW, {TCS: pointing}]
  flat:
    resources: [camera, lamp]
    sequencers: [ESW]
  broken:
    resources: [dome]
    sequencers: [{ESW: pointing}, {TCS: has_a_mistake}]
"""

SCRIPT = """
from ocs.sequence import Run, step

@step("Wait")
def wait(run: Run):
    run.sleep(3600)
"""


@pytest.fixture
def scripts(site):
    folder = site.directory / "sequences"
    folder.mkdir()
    for name in ("dark", "flat", "pointing"):
        (folder / f"{name}.py").write_text(SCRIPT)
    (folder / "has_a_mistake.py").write_text("1 / 0\n")
    return folder


@pytest.fixture
def start_component(site, run_agent, scripts):
    def start(prefix):
        instance_id = f"seqcomp-{prefix.lower().replace('.', '-')}"
        site.add_instance("SequenceComponent", instance_id, ["--prefix", prefix])
        return run_agent(instance_id)

    return start


@pytest.fixture
def start_manager(site, run_agent):
    def start(modes=MODES, instance_id="sequence-manager", **keywords):
        path = site.directory / "obs-modes.yaml"
        path.write_text(modes)
        site.add_instance("SequenceManager", instance_id, ["--obs-mode-file", str(path)])
        return run_agent(instance_id, **keywords)

    return start


def seen(manager):
    return manager.client.main.status().session.get("data", {})


def components(manager):
    return seen(manager).get("components", {})


def wait_for_components(manager, *prefixes):
    wait_for(lambda: set(components(manager)) == set(prefixes))


def last_word(reply):
    return reply.session["messages"][-2][1]


def test_a_mode_is_configured_once_and_let_go_of(start_manager, start_component):
    manager = start_manager()
    start_component("ESW.primary")
    start_component("TCS.primary")
    wait_for_components(manager, "ESW.primary", "TCS.primary")
    done = manager.client.configure(obs_mode="dark", check=True).session["data"]
    assert done["sequencers"] == {"ESW.dark": "ESW.primary", "TCS.dark": "TCS.primary"}
    assert "already" in last_word(manager.client.configure(obs_mode="dark", check=True))
    held = manager.client.get_resources().session["data"]["resources"]
    assert {each["resource"]: each["held_by"] for each in held}["camera"] == ["dark"]
    wait_for(lambda: seen(manager)["modes"]["dark"]["state"] == "configured")
    manager.client.shutdown_sequencer(obs_mode="dark", check=True)
    wait_for(lambda: components(manager) == {"ESW.primary": None, "TCS.primary": None})


def test_a_mode_whose_resources_another_one_holds_is_refused(start_manager, start_component):
    manager = start_manager()
    for prefix in ("ESW.primary", "ESW.second", "ESW.third"):
        start_component(prefix)
    wait_for_components(manager, "ESW.primary", "ESW.second", "ESW.third")
    manager.client.configure(obs_mode="dark", check=True)
    refused = manager.client.configure(obs_mode="flat")
    assert refused.session["success"] is False
    assert "camera is held by dark" in last_word(refused)
    manager.client.shutdown_sequencer(sequencer="ESW.dark", check=True)
    assert "camera is held by dark" in last_word(manager.client.configure(obs_mode="flat"))
    manager.client.shutdown_sequencer(sequencer="TCS.dark", check=True)
    manager.client.configure(obs_mode="flat", check=True)


def test_a_mode_that_cannot_be_configured_whole_is_not_configured_at_all(start_manager, start_component):
    manager = start_manager()
    start_component("ESW.primary")
    start_component("TCS.primary")
    wait_for_components(manager, "ESW.primary", "TCS.primary")
    failed = manager.client.configure(obs_mode="broken")
    assert failed.session["success"] is False
    assert "has_a_mistake.py:1: ZeroDivisionError" in last_word(failed)
    wait_for(lambda: components(manager) == {"ESW.primary": None, "TCS.primary": None})
    manager.client.configure(obs_mode="dark", check=True)


def test_without_an_idle_component_nothing_is_loaded(start_manager, start_component):
    manager = start_manager()
    start_component("ESW.primary")
    wait_for_components(manager, "ESW.primary")
    failed = manager.client.configure(obs_mode="dark")
    assert "no sequence component is idle for TCS.dark" in last_word(failed)
    assert components(manager) == {"ESW.primary": None}


def test_a_running_sequence_is_shut_down_by_force_alone(start_manager, start_component):
    manager = start_manager()
    component = start_component("ESW.primary")
    wait_for_components(manager, "ESW.primary")
    manager.client.configure(obs_mode="flat", check=True)
    component.client.sequencer.start(check=True)
    wait_for(lambda: component.client.sequencer.status().session.get("data", {}).get("current_step"))
    refused = manager.client.shutdown_sequencer(obs_mode="flat")
    assert "is running a sequence" in last_word(refused)
    manager.client.shutdown_sequencer(obs_mode="flat", force=True, check=True)
    assert component.client.sequencer.status().session["data"]["state"] == "aborted"


def test_a_component_that_is_killed_is_gone_and_its_mode_lets_go(start_manager, start_component):
    manager = start_manager()
    component = start_component("ESW.primary")
    wait_for_components(manager, "ESW.primary")
    manager.client.configure(obs_mode="flat", check=True)
    component.kill()
    wait_for(lambda: components(manager) == {})
    held = manager.client.get_resources().session["data"]["resources"]
    assert all(each["held_by"] == [] for each in held)


def test_a_manager_that_was_killed_knows_what_there_is(start_manager, start_component):
    manager = start_manager()
    start_component("ESW.primary")
    wait_for_components(manager, "ESW.primary")
    manager.client.configure(obs_mode="flat", check=True)
    manager.kill()
    again = start_manager()
    wait_for(lambda: components(again) == {"ESW.primary": "ESW.flat"})
    status = again.client.get_agent_status().session["data"]
    (alone,) = status["seqCompsWithoutAgent"]
    assert alone["seqCompId"] == {"prefix": "ESW.primary", "componentType": "SequenceComponent"}
    assert alone["sequencerLocation"][0]["connection"]["prefix"] == "ESW.flat"


def test_a_sequencer_that_is_loaded_elsewhere_is_not_loaded_again(start_manager, start_component):
    manager = start_manager()
    first, second = start_component("ESW.primary"), start_component("ESW.second")
    wait_for_components(manager, "ESW.primary", "ESW.second")
    first.client.load_script(obs_mode="flat", check=True)
    reply = second.client.load_script(obs_mode="flat")
    assert reply.session["success"] is False
    wait_for(lambda: components(manager) == {"ESW.primary": "ESW.flat", "ESW.second": None})
    second.client.load_script(obs_mode="dark", check=True)


def test_the_file_is_read_again_and_a_mistake_in_it_is_shown(start_manager, site):
    manager = start_manager()
    wait_for(lambda: seen(manager).get("modes"))
    path = site.directory / "obs-modes.yaml"
    path.write_text("obsModes:\n  dark: 7\n")
    wait_for(lambda: (seen(manager)["trouble"] or "").startswith(f"{path}:2:"))
    assert manager.client.main.status().session["degraded"] is True
    path.write_text(MODES.replace("dark", "night"))
    wait_for(lambda: "night" in seen(manager)["modes"])
    assert manager.client.main.status().session["degraded"] is False


def test_a_file_with_a_mistake_at_the_beginning_ends_the_agent_with_one_line(start_manager, site):
    manager = start_manager("obsModes: 7\n", wait=False)
    assert manager.process.wait(30) == 1
    assert manager.output.count("\n") == 1
    assert f"{site.directory / 'obs-modes.yaml'}:1: obsModes: must be a map" in manager.output


def test_the_pages_example_runs(start_manager, site, run_agent, monkeypatch, capsys):
    shutil.copytree(EXAMPLES, site.directory / "sequences")
    for agent_class, instance_id, arguments in (
        ("FakeDataAgent", "fake-1", []),
        ("FakeDataAgent", "fake-2", []),
        ("SequenceComponent", "sequences-1", ["--prefix", "ESW.primary"]),
    ):
        site.add_instance(agent_class, instance_id, arguments)
        run_agent(instance_id)
    manager = start_manager((EXAMPLES / "obs-modes.yaml").read_text())
    wait_for_components(manager, "ESW.primary")
    monkeypatch.setenv("OCS_CONFIG_DIR", str(site.directory))
    for what, code in examples("agents/sequence-manager.md"):
        if what == "run with all agents":
            exec(code, {})
    shown = capsys.readouterr().out
    assert "succeeded" in shown
    assert "camera-1 is held by fake_observation" in shown
