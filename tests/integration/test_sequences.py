"""Sequences on a real router, with real fake-data agents."""

import os
import signal

import pytest

from tests.harness.examples import DOCS
from tests.harness.waiting import wait_for

EXAMPLES = DOCS / "examples" / "sequences"
QUICK = {"scans": 2, "seconds": 0.1}

LONG = """
from ocs.sequence import Run, at_end, step

@step("First")
def first(run: Run):
    run.agent("fake-1").acq.start()

@step("Long", weight=9)
def long(run: Run):
    run.progress(0.5, "half of it")
    run.sleep(3600)

@at_end
def stop(run: Run):
    run.agent("fake-1").acq.stop(check=False)
    run.agent("fake-1").acq.wait(timeout=10)
"""

WAITS = """
from ocs.sequence import Run, step

@step("Wait")
def wait(run: Run):
    run.agent("fake-1").delay_task(delay=run.params.get("delay", 0.1))
"""

FAILS = """
from ocs.sequence import Run, step

@step("Fail")
def fail(run: Run):
    run.agent("fake-1").delay_task(delay=0, succeed=False)
"""


@pytest.fixture
def scripts(site):
    folder = site.directory / "sequences"
    folder.mkdir()
    for name, text in {"long": LONG, "waits": WAITS, "fails": FAILS}.items():
        (folder / f"{name}.py").write_text(text)
    for example in EXAMPLES.glob("*.py"):
        (folder / example.name).write_text(example.read_text())
    return folder


@pytest.fixture
def start(site, run_agent, scripts):
    """Start a sequence component; its scripts are beside the site file, as they are by default."""

    def start(prefix="ESW.primary", instance_id="sequences-1", **keywords):
        site.add_instance("SequenceComponent", instance_id, ["--prefix", prefix])
        return run_agent(instance_id, **keywords)

    return start


@pytest.fixture
def fake(site, run_agent):
    site.add_instance("FakeDataAgent", "fake-1")
    return run_agent("fake-1")


def data(component):
    return component.client.sequencer.status().session.get("data", {})


def load(component, mode):
    return component.client.load_script(obs_mode=mode, check=True).session["data"]


def wait_until(component, **wanted):
    return wait_for(lambda: all(data(component).get(key) == value for key, value in wanted.items()) and data(component))


def is_acquiring(fake):
    return fake.client.acq.status().session.get("status") == "running"


def test_the_first_example_observes(start, fake):
    component = start()
    assert [step["title"] for step in load(component, "fake_observation")["steps"]] == ["Cool down", "Observe"]
    component.client.sequencer.start(params=QUICK, check=True)
    session = component.client.sequencer.wait(timeout=60, check=True).session
    assert (session["data"]["state"], session["data"]["progress"]) == ("succeeded", 1.0)
    assert any("last temperatures" in text for _, text in session["messages"])
    assert not is_acquiring(fake)


def test_the_second_example_drives_two_agents(start, fake, site, run_agent):
    site.add_instance("FakeDataAgent", "fake-2")
    fakes = [fake, run_agent("fake-2")]
    component = start()
    load(component, "two_cameras")
    component.client.sequencer.start(check=True)
    assert component.client.sequencer.wait(timeout=60, check=True).session["data"]["state"] == "succeeded"
    assert [each.client.delay_task.status().session["success"] for each in fakes] == [True, True]


def test_an_abort_ends_the_run_in_mid_step_and_does_what_is_for_the_end(start, fake):
    component = start()
    load(component, "long")
    component.client.sequencer.start(check=True)
    seen = wait_until(component, message="half of it")
    assert (seen["state"], seen["current_step"], seen["progress"]) == ("running", 2, pytest.approx(0.55))
    assert is_acquiring(fake)
    component.client.abort(check=True)
    session = component.client.sequencer.wait(timeout=30).session
    assert (session["success"], session["data"]["state"]) == (False, "aborted")
    assert not is_acquiring(fake)


def test_a_pause_before_a_step_holds_until_it_is_resumed_and_a_stop_ends_it(start, fake):
    component = start()
    load(component, "long")
    component.client.sequencer.start(check=True)
    wait_until(component, message="half of it")
    component.client.pause(check=True)
    assert wait_until(component, state="paused")["current_step"] == 2
    component.client.resume(check=True)
    wait_until(component, state="running")
    component.client.pause(check=True)
    wait_until(component, state="paused")
    component.client.sequencer.stop(check=True)
    session = component.client.sequencer.wait(timeout=30).session
    assert (session["success"], session["data"]["state"]) == (True, "stopped")


def test_a_run_that_begins_at_its_second_step_skips_the_first(start, fake):
    component = start()
    load(component, "long")
    component.client.sequencer.start(first_step="Long", check=True)
    seen = wait_until(component, message="half of it")
    assert seen["steps"][0]["state"] == "skipped"
    assert not is_acquiring(fake)
    component.client.abort(check=True)
    component.client.sequencer.wait(timeout=30)


def test_an_agent_that_is_away_is_waited_for_and_the_run_is_degraded(start, site, run_agent):
    site.add_instance("FakeDataAgent", "fake-1")
    component = start()
    load(component, "waits")
    component.client.sequencer.start(check=True)
    wait_for(lambda: component.client.sequencer.status().session.get("degraded"))
    assert "fake-1" in data(component)["waiting_for"]
    run_agent("fake-1")
    session = component.client.sequencer.wait(timeout=30, check=True).session
    assert (session["degraded"], session["data"]["waiting_for"]) == (False, None)


def test_an_agent_that_is_killed_while_it_is_waited_for_fails_the_step_when_it_is_back(start, fake, run_agent):
    component = start()
    load(component, "waits")
    component.client.sequencer.start(params={"delay": 3600}, check=True)
    wait_for(lambda: fake.client.delay_task.status().session.get("status") == "running")
    fake.kill()
    wait_for(lambda: component.client.sequencer.status().session.get("degraded"))
    run_agent("fake-1")
    session = component.client.sequencer.wait(timeout=60).session
    assert (session["success"], session["data"]["state"]) == (False, "failed")
    assert "has been restarted" in session["data"]["last_error"]


def test_an_abort_ends_the_wait_for_an_agent(start, fake):
    component = start()
    load(component, "waits")
    component.client.sequencer.start(params={"delay": 3600}, check=True)
    wait_for(lambda: fake.client.delay_task.status().session.get("status") == "running")
    component.client.abort(check=True)
    assert component.client.sequencer.wait(timeout=20).session["data"]["state"] == "aborted"


def test_what_goes_wrong_is_one_line_with_the_scripts_line(start, fake, scripts):
    component = start()
    load(component, "fails")
    component.client.sequencer.start(check=True)
    error = component.client.sequencer.wait(timeout=30).session["data"]["last_error"]
    assert error.startswith(f"{scripts / 'fails.py'}:6: fake-1: delay_task failed")


@pytest.mark.parametrize("script", ["../default.yaml", "/etc/passwd", "nothing", "../../x"])
def test_nothing_outside_the_folder_is_loaded(start, script):
    reply = start().client.load_script(obs_mode="dark", script=script)
    assert reply.session["success"] is False
    assert "sequences" in reply.session["messages"][-2][1]


def test_a_script_with_a_mistake_is_told_and_leaves_the_component_idle(start, scripts):
    (scripts / "dark.py").write_text("import time\n\nfoo\n")
    component = start()
    session = component.client.load_script(obs_mode="dark").session
    assert session["messages"][-2][1] == f"{scripts / 'dark.py'}:3: NameError: name 'foo' is not defined"
    assert load(component, "long")["sequencer"] == "ESW.long"


def test_a_component_that_is_told_to_end_does_what_is_for_the_end(start, fake):
    component = start()
    load(component, "long")
    component.client.sequencer.start(check=True)
    wait_until(component, message="half of it")
    assert component.stop(signal.SIGTERM, timeout=15) == 0
    assert not is_acquiring(fake)


def test_a_router_that_goes_and_comes_back_costs_a_sequence_nothing(own_router, make_site, run_agent):
    site = make_site(own_router)
    (site.directory / "sequences").mkdir()
    (site.directory / "sequences" / "waits.py").write_text(WAITS)
    site.add_instance("FakeDataAgent", "fake-1", ["--crossbar-timeout", "60"])
    site.add_instance("SequenceComponent", "sequences-1", ["--prefix", "ESW.primary", "--crossbar-timeout", "60"])
    fake, component = run_agent("fake-1", site=site), run_agent("sequences-1", site=site)
    load(component, "waits")
    component.client.sequencer.start(params={"delay": 8}, check=True)
    wait_for(lambda: fake.client.delay_task.status().session.get("status") == "running")
    own_router.kill()
    own_router.start()
    component.wait_until_ready(30)
    assert component.client.sequencer.wait(timeout=60, check=True).session["data"]["state"] == "succeeded"


def test_the_pages_example_runs(start, fake, site, monkeypatch, capsys):
    from tests.harness.examples import examples

    start()
    monkeypatch.setenv("OCS_CONFIG_DIR", str(site.directory))
    assert "OCS_CONFIG_DIR" in os.environ
    for what, code in examples("agents/sequence-component.md"):
        if what == "run with both agents":
            exec(code, {})
    assert "1.0" in capsys.readouterr().out
