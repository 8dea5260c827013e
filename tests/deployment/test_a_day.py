"""A day in the life of a machine, as its operator sees it: `ocsbow status` tells the truth at every step."""

import json
import random
import signal

import psutil
import pytest
import yaml

from ocs import __version__
from ocs.ocsbow import main as ocsbow
from tests.harness.managing import Managed, end_all, kill
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(900)]  # the first test waits for the images

PROCESSES = [f"fake-{number}" for number in range(10)]
CONTAINERS = [f"box-{number}" for number in range(10)]
EVERYBODY = PROCESSES + CONTAINERS
PATIENCE = 90.0


class Machine:
    """Twenty agents, half of them containers, and their manager."""

    def __init__(self, site, engine, image, run_agent, capsys):
        self.site, self.engine, self.capsys = site, engine, capsys
        self.run_agent = run_agent
        site.add_instance("HostManager", "hm-1")
        for name in PROCESSES:
            site.add_instance("FakeDataAgent", name, ["--mode", "acq"])
        for name in CONTAINERS:
            site.add_instance("FakeDataAgent", name, ["--mode", "acq"], manage="docker/up")
        self.project = site.directory.name.lower()
        self.compose_file = site.directory / "compose.yaml"
        services = {f"ocs-{name}": self.service(name, image) for name in CONTAINERS}
        self.compose_file.write_text(yaml.safe_dump({"name": self.project, "services": services}))

    def service(self, name, image):
        return {
            "image": image,
            "network_mode": "host",
            "init": True,
            "environment": {"INSTANCE_ID": name, "SITE_HOST": "localhost", "OCS_STATE_DIR": "/tmp"},
            "volumes": [f"{self.site.directory}:/config:ro"],
            "healthcheck": {"disable": True},
        }

    def start_manager(self):
        words = ["--docker-compose", str(self.compose_file)]
        self.manager = Managed(self.run_agent("hm-1", *words, env=self.engine.env))

    def kill_manager(self):
        """Kill the manager, and nothing else."""
        kill(self.manager.handle.process.pid)
        self.manager.handle.process.wait()

    def told(self):
        """What `ocsbow status` says: its exit code, and state and target of each instance."""
        self.capsys.readouterr()
        code = ocsbow(["status", "--json", *self.site.args])
        told = self.capsys.readouterr()
        assert told.out, told.err
        self.said = json.loads(told.out)
        (host,) = self.said["hosts"]
        return code, {each["instance_id"]: (each["state"], each["target"]) for each in host["instances"]}

    def wait_told(self, wanted, code=0):
        """Wait until `ocsbow status` says so of the instances given, and exits with `code`."""

        def as_wanted():
            got, states = self.told()
            return got == code and all(states.get(name) == state for name, state in wanted.items())

        try:
            wait_for(as_wanted, PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said}\n{self.manager.handle.output[-4000:]}") from None

    def pid(self, name):
        """The process of an agent, in a container or not, as the machine's process table has it."""
        found = [
            each.pid
            for each in psutil.process_iter(["cmdline"])
            if (each.info["cmdline"] or [])[:1] == [f"ocs-agent:{name}"]
        ]
        assert len(found) <= 1, f"{name} runs {len(found)} times"
        return found[0] if found else None

    def pids(self):
        return {name: self.pid(name) for name in EVERYBODY}


@pytest.fixture
def machine(site, docker_engine, images, run_agent, capsys, monkeypatch):
    monkeypatch.setenv("OCS_STATE_DIR", str(site.state_dir))  # as the manager: there is what was last good
    made = Machine(site, docker_engine, f"ocs-agent:{__version__}", run_agent, capsys)
    yield made
    end_all(site.directory)
    docker_engine.remove_project(made.project)


def test_the_operator_is_told_the_truth_at_every_step(machine):
    up = ("up", "up")
    all_up = dict.fromkeys(EVERYBODY, up)

    # Brought up.
    machine.start_manager()
    machine.wait_told(all_up)
    first = wait_for(lambda: (pids := machine.pids()) and None not in pids.values() and pids)

    # A few are killed by hand: they are told as unstable, and come back, each once; nobody else is touched.
    victims = random.Random(4).sample(PROCESSES, 3) + random.Random(4).sample(CONTAINERS, 2)
    for name in victims:
        kill(first[name])
    machine.wait_told(dict.fromkeys(victims, ("unstable", "up")), code=1)
    wait_for(lambda: all(machine.pid(name) not in (None, first[name]) for name in victims), PATIENCE)
    second = machine.pids()
    assert {name for name in EVERYBODY if second[name] != first[name]} == set(victims)

    # The manager is killed: it is told that nobody knows; the next one takes all over as they are.
    machine.kill_manager()
    code, states = machine.told()
    assert code == 1
    assert {states[name][0] for name in EVERYBODY} == {"?"}
    machine.start_manager()
    machine.wait_told(all_up, code=0)
    assert machine.pids() == second

    # Somebody breaks the site file: where the mistake is, is told, and nobody ends for it.
    good = machine.site.path.read_text()
    machine.site.path.write_text(f"{good}  broken: [\n")
    machine.wait_told(all_up, code=1)
    assert f"{machine.site.path}:{good.count(chr(10)) + 2}:" in machine.said["site_file_mistake"]
    assert ocsbow(["status", "--reload-config", *machine.site.args]) == 1
    assert str(machine.site.path) in machine.capsys.readouterr().out
    assert machine.pids() == second

    # It is mended, with one agent less and one more.
    description = yaml.safe_load(good)
    instances = description["hosts"]["localhost"]["agent-instances"]
    instances.remove(next(each for each in instances if each["instance-id"] == "fake-9"))
    instances.append({"agent-class": "FakeDataAgent", "instance-id": "fake-10", "arguments": ["--mode", "acq"]})
    machine.site.path.write_text(yaml.safe_dump(description))
    assert ocsbow(["status", "--reload-config", *machine.site.args]) in (0, 1)  # the new one may not be up yet
    everybody = {name: up for name in EVERYBODY if name != "fake-9"} | {"fake-10": up}
    machine.wait_told(everybody)
    wait_for(lambda: machine.pid("fake-9") is None, PATIENCE)
    assert {name: machine.pid(name) for name in EVERYBODY if name != "fake-9"} == {
        name: pid for name, pid in second.items() if name != "fake-9"
    }

    # An agent and a container are to be down; then the manager ends, and takes the other agents with it.
    assert ocsbow(["down", "fake-0", "box-0", "--wait", *machine.site.args]) == 0
    machine.wait_told({**everybody, "fake-0": ("down", "down"), "box-0": ("down", "down")})
    machine.manager.handle.stop(signal.SIGTERM, 60)
    assert {name: pid for name, pid in machine.pids().items() if pid is not None} == {}
