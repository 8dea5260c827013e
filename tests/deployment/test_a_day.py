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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first test waits for the images

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
        self.said = json.loads(self.capsys.readouterr().out)
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
            each.pid for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"][:1] == [f"ocs-agent:{name}"]
        ]
        assert len(found) <= 1, f"{name} runs {len(found)} times"
        return found[0] if found else None

    def pids(self):
        return {name: self.pid(name) for name in EVERYBODY}


@pytest.fixture
def machine(site, docker_engine, images, run_agent, capsys):
    made = Machine(site, docker_engine, f"ocs-agent:{__version__}", run_agent, capsys)
    yield made
    end_all(site.directory)
    docker_engine.remove_project(made.project)


def test_the_operator_is_told_the_truth_at_every_step(machine):
    up, down = ("up", "up"), ("down", "down")
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
    machine.wait_told({name: up for name in EVERYBODY if name not in victims}, code=0)
    assert machine.pids() == second

    # The YAML is broken: everything stays up, and the place of the mistake is told.
    good = machine.site.path.read_text()
    machine.site.path.write_text(good + "\n  oops: [\n")
    ocsbow(["status", "--json", "--reload-config", *machine.site.args])
    code, states = machine.told()
    assert code == 1
    assert {name: states[name] for name in EVERYBODY} == all_up
    assert "default.yaml, line" in json.dumps(machine.said)
    assert machine.pids() == second

    # Mended, with one more and one less.
    document = yaml.safe_load(good)
    instances = document["hosts"]["localhost"]["agent-instances"]
    document["hosts"]["localhost"]["agent-instances"] = [
        *(each for each in instances if each["instance-id"] != "fake-0"),
        {"agent-class": "FakeDataAgent", "instance-id": "fake-new", "arguments": []},
    ]
    machine.site.path.write_text(yaml.safe_dump(document))
    ocsbow(["status", "--json", "--reload-config", *machine.site.args])
    machine.wait_told({"fake-new": up, **{name: up for name in EVERYBODY if name != "fake-0"}})
    assert "fake-0" not in machine.told()[1]
    assert machine.pid("fake-0") is None
    assert {name: machine.pid(name) for name in EVERYBODY[1:]} == {name: second[name] for name in EVERYBODY[1:]}

    # One goes down on request, then everything with the manager.
    assert ocsbow(["down", "fake-1", "box-1", "--wait", "--json", *machine.site.args]) == 0
    assert machine.told()[1]["fake-1"] == machine.told()[1]["box-1"] == down
    assert machine.pid("fake-1") is machine.pid("box-1") is None
    assert machine.manager.handle.stop(signal.SIGTERM, timeout=PATIENCE) == 0
    assert set(machine.pids().values()) == {None}
