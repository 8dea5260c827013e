"""`ocs config check` beside a HostManager that runs: what it announces is what the reload does."""

import json

import pytest

from ocs.cli.main import main
from tests.harness.waiting import wait_for


@pytest.fixture
def announced(site, monkeypatch, capsys):
    """Return a function that gives the exit code, the announced changes by instance, and the notes."""
    monkeypatch.setenv("OCS_STATE_DIR", str(site.state_dir))

    def announced():
        code = main(["config", "check", *site.args, "--json", "--timeout", "20"])
        report = json.loads(capsys.readouterr().out)
        return code, {one["instance_id"]: one["effect"] for one in report["reload"]}, report["reload_notes"]

    return announced


@pytest.fixture
def children(site, run_agent):
    """Start a HostManager with an instance, and return a function that gives its instances by instance-id."""
    site.add_instance("HostManager", "hm-1").add_instance("FakeDataAgent", "fake-1")
    manager = run_agent("hm-1", env={"OCS_STATE_DIR": str(site.state_dir)})

    def children():
        data = manager.client.manager.status().session["data"]
        return {one["instance_id"]: one for one in data.get("child_states", ())}

    wait_for(lambda: children().get("fake-1", {}).get("next_action") == "up", timeout=60)
    children.client = manager.client
    return children


def reload(children):
    assert children.client.update(reload_config=True).session["success"]


def test_what_is_announced_is_what_happens(site, children, announced):
    assert announced() == (0, {}, [])
    site.add_instance("FakeDataAgent", "fake-1", ["--num-channels", "3"]).add_instance("BarebonesAgent", "new-1")
    code, changes, notes = announced()
    assert (code, notes) == (0, [])
    assert changes == {"fake-1": "needs a restart (arguments)", "new-1": "would be added"}
    assert "new-1" not in children()
    reload(children)
    wait_for(lambda: children().get("new-1", {}).get("next_action") == "up", timeout=60)
    assert children()["fake-1"]["restart_required"]
    assert announced() == (0, {}, [])


def test_a_broken_file_is_told_to_be_refused_and_is(site, children, announced):
    good = site.path.read_text()
    site.path.write_text(good + "  : [")
    code, changes, notes = announced()
    assert (code, changes) == (1, {})
    assert "would be refused" in notes[0]
    children.client.update(reload_config=True)
    assert children()["fake-1"]["next_action"] == "up"
    site.path.write_text(good)
    assert announced() == (0, {}, [])
