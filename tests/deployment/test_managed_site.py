"""site-config/docker as its page says: a HostManager on the machine, over as many processes as containers."""

import json
import shutil
import signal
import time

import pytest

from ocs.hk import load
from ocs.ocs_client import OCSClient
from ocs.ocsbow import main as ocsbow
from tests.deployment.building import ROOT, Deployment, free_port, move_port
from tests.harness.managing import Managed, end_all
from tests.harness.site import Site
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(900)]  # the first test waits for the images

CONTAINERS = {"registry", "aggregator", "fake-1"}
PROCESSES = {"barebones-1", "fake-3", "fake-4"}
MORE = """
      - agent-class: FakeDataAgent
        instance-id: {name}
        arguments: [--mode, acq, --frame-length, 2]
"""


class SampleSite(Site):
    """The sample in a folder of a test's own, at another port, with more processes."""

    def __init__(self, folder, port):
        shutil.copytree(ROOT / "site-config" / "docker", folder)
        self.directory, self.path, self.state_dir = folder, folder / "default.yaml", folder / "state"
        self.address_root = "observatory"
        self.hub = {"wamp_http": f"http://127.0.0.1:{port}/call"}
        move_port(self.path, port)
        with self.path.open("a") as file:
            file.writelines(MORE.format(name=name) for name in ("fake-3", "fake-4"))


@pytest.fixture
def sample(images, docker_engine, tmp_path):
    """The sample with its router running, which belongs to the compose file."""
    site = SampleSite(tmp_path / f"sample-{free_port()}", free_port())
    made = Deployment(site.directory, {**images, "OCS_CONFIG_DIR": str(site.directory)})
    made.site = site
    try:
        made.compose("up", "--detach", "crossbar", timeout=120)
        yield made
    finally:
        print(made.compose("logs", "--no-color", check=False))
        made.compose("down", "--volumes", timeout=120)
        end_all(site.directory)
        docker_engine.remove_project(site.directory.name)


def told(sample, capsys):
    """What `ocsbow status` says: instance → state."""
    capsys.readouterr()
    ocsbow(["status", "--json", *sample.site.args])
    hosts = json.loads(capsys.readouterr().out)["hosts"]
    return {each["instance_id"]: each["state"] for host in hosts for each in host["instances"]}


def running_containers(sample):
    return set(sample.compose("ps", "--services", "--status", "running").split())


def test_the_sample_is_managed_as_its_page_says(sample, run_agent, capsys, tmp_path):
    everybody = CONTAINERS | PROCESSES
    handle = run_agent("hm-localhost", site=sample.site, env=sample.env, timeout=60)
    managed = Managed(handle)
    managed.wait_ready(*everybody, timeout=120)
    expected = {**dict.fromkeys({*everybody, "hm-localhost", "crossbar"}, "up"), "fake-2": "down"}
    assert told(sample, capsys) == expected
    kinds = {name: state["management"] for name, state in managed.states.items()}
    assert {name for name in everybody if kinds[name] == "docker"} == CONTAINERS
    assert running_containers(sample) == {"crossbar", *(f"ocs-{name}" for name in CONTAINERS)}

    # One of either kind goes down and comes back.
    manager = OCSClient("hm-localhost", args=sample.site.args)
    pair = ("fake-1", "fake-3")
    manager.update(requests=[(name, "down") for name in pair])
    managed.wait(lambda states: all(states[name]["next_action"] == "down" for name in pair))
    assert running_containers(sample) == {"crossbar", "ocs-registry", "ocs-aggregator"}
    begun = time.time()
    manager.update(requests=[(name, "up") for name in pair])
    managed.wait_ready(*pair)

    # What they measure is recorded, from processes and containers alike.
    aggregator = OCSClient("aggregator", args=sample.site.args)

    def recorded():
        providers = aggregator.record.status().session["data"].get("providers", {})
        return {name for name, entry in providers.items() if "fake" in name and entry["last_refresh"] > begun}

    feeds = {f"observatory.{name}.feeds.false_temperatures" for name in ("fake-1", "fake-3", "fake-4")}
    wait_for(lambda: feeds <= recorded(), 60)
    aggregator.record.stop()
    assert aggregator.record.wait(timeout=30).session["success"]
    sample.compose("cp", "ocs-aggregator:/data/hk", str(tmp_path / "hk"))
    assert set(load(tmp_path / "hk", "false_temperatures.channel_00")) == {f"{feed}.channel_00" for feed in feeds}

    # All goes with the manager, but for what it does not manage.
    assert handle.stop(signal.SIGTERM, timeout=60) == 0
    assert running_containers(sample) == {"crossbar"}
