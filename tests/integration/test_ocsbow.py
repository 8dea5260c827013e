"""ocsbow, ocs status, ocs logs and ocs restart with a real router, real HostManagers and real agents."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import yaml

from ocs.cli.main import main as ocs
from ocs.ocsbow import main as ocsbow
from tests.harness.managing import LIMIT, Managed, end_all, kill
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def site(site):
    """A host with a manager and two agents; what they leave behind is ended with the test."""
    site.add_instance("HostManager", "hm-1")
    site.add_instance("FakeDataAgent", "fake-1", ["--mode", "acq"])
    site.add_instance("FakeDataAgent", "fake-2", ["--mode", "acq"])
    yield site
    end_all(site.directory)


@pytest.fixture
def managed(site, run_agent):
    """The manager, when both agents are ready."""
    manager = Managed(run_agent("hm-1"))
    manager.wait_ready("fake-1", "fake-2")
    return manager


@pytest.fixture
def told(site, capsys):
    """Run a program with `--json`; returns its exit code and what it says."""

    def run(program, *words):
        capsys.readouterr()
        code = program([*words, "--json", *site.args])
        return code, json.loads(capsys.readouterr().out)

    return run


def kill_alone(managed):
    """Kill the manager and nothing else: its agents run on."""
    kill(managed.handle.process.pid)
    managed.handle.process.wait()


def states(told, code=0):
    got, said = told(ocsbow, "status")
    assert got == code, said
    return {one["instance_id"]: (one["state"], one["target"]) for one in said["hosts"][0]["instances"]}


def test_down_and_up_come_true_and_status_tells_so(managed, told):
    assert states(told) == {"hm-1": ("up", "n/a"), "fake-1": ("up", "up"), "fake-2": ("up", "up")}
    code, said = told(ocsbow, "down", "fake-1", "--wait", str(LIMIT))
    assert (code, said["not_reached"]) == (0, {})
    assert states(told)["fake-1"] == ("down", "down")
    assert managed.states["fake-1"]["pid"] is None
    assert told(ocsbow, "up", "--all", "--wait", str(LIMIT))[0] == 0
    assert states(told)["fake-1"] == ("up", "up")


def test_a_dry_run_changes_nothing(managed, told):
    before = managed.pid("fake-1")
    assert told(ocsbow, "down", "--all", "--dry-run")[0] == 0
    assert managed.pid("fake-1") == before


def test_restart_waits_for_the_new_run(managed, told):
    before = managed.pid("fake-1")
    code, said = told(ocs, "restart", "fake-1", "--wait", str(LIMIT))
    assert (code, said["not_reached"]) == (0, {})
    assert managed.states["fake-1"]["ready"]
    assert managed.pid("fake-1") != before


def test_an_agent_that_keeps_ending_is_told_with_its_words(site, managed, told):
    site.add_instance("FakeDataAgent", "lame", ["--no-such-option"])
    told(ocsbow, "status", "--reload-config")
    wait_for(lambda: states(told, 1).get("lame", ("",))[0] == "unstable", LIMIT)
    _, said = told(ocsbow, "status")
    assert any("--no-such-option" in note for note in said["hosts"][0]["notes"])


def test_a_broken_site_file_is_told_by_its_manager_while_ours_is_well(site, managed, told, tmp_path):
    """As where each host has its own copy of the file: the programs read one that is in order."""
    own = tmp_path / "own.yaml"
    own.write_text(site.path.read_text())
    site.path.write_text("hub: {wamp_server: [\n")
    words = ["--site-file", str(own), "--site-host", "localhost"]
    assert ocsbow(["status", "--reload-config", *words]) == 1
    site.path.write_text(own.read_text())


def test_every_step_of_a_manager_s_death_is_told(managed, run_agent, told):
    agent = managed.pid("fake-1")
    kill_alone(managed)
    wait_for(lambda: told(ocsbow, "status")[1]["hosts"][0]["managers"][0]["condition"] == "away", LIMIT)
    code, said = told(ocsbow, "status")
    assert code == 1
    assert "hm-1 does not answer" in said["hosts"][0]["notes"][0]
    again = Managed(run_agent("hm-1"))
    again.wait_ready("fake-1", "fake-2")
    assert states(told)["fake-1"] == ("up", "up")
    assert again.pid("fake-1") == agent


def test_status_of_the_whole_site(site, managed, run_agent, told):
    site.add_instance("RegistryAgent", "registry", manage="ignore")
    run_agent("registry")

    def heard():
        code, said = told(ocs, "status")
        return said if code == 0 and "fake-1" in said["registry"]["agents"] else None

    said = wait_for(heard, LIMIT)
    assert said["ok"]
    assert said["router"]["ok"]
    rows = {one["instance_id"]: one for one in said["hosts"][0]["instances"]}
    assert rows["registry"]["state"] == "up"


# logs


def test_logs_shows_what_an_agent_has_printed(site, managed, capsys):
    assert ocs(["logs", "fake-1", "-n", "100", *site.args]) == 0
    assert "joined" in capsys.readouterr().out


class Follower:
    """`ocs logs -f` as a process, read by a thread."""

    def __init__(self, *words):
        command = [sys.executable, "-c", "import sys; from ocs.cli.main import main; sys.exit(main())", "logs", "-f"]
        self.lines = []
        self.process = subprocess.Popen(
            [*command, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        self.lines.extend(self.process.stdout)  # grows line by line

    def wait_for(self, text):
        wait_for(lambda: any(text in line for line in list(self.lines)), LIMIT)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self._reader.join(20)
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, errors


@pytest.fixture
def follow(site):
    started = []

    def start(*words):
        started.append(Follower(*words, *site.args))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end()


def test_following_goes_on_over_a_restart_of_the_manager_and_ends_with_ctrl_c(managed, run_agent, follow):
    following = follow("fake-1")
    following.wait_for("joined")
    seen = len(following.lines)
    kill_alone(managed)
    again = Managed(run_agent("hm-1"))
    again.wait_ready("fake-1")
    again.handle.client.restart(instances=["fake-1"])
    again.wait(lambda now: now["fake-1"]["ready"] and now["fake-1"]["restarts"])
    wait_for(lambda: any("joined" in line for line in following.lines[seen:]), LIMIT)
    code, errors = following.end()
    assert code == 0
    assert "Traceback" not in errors
    joined = [line for line in following.lines if "joined" in line]
    assert len(set(joined)) == len(joined) == 2, "".join(following.lines)


# the published HostManager


@pytest.mark.interop
def test_the_published_manager_is_shown_and_obeys(site, run_agent, published_python, told):
    site.add_instance("FakeDataAgent", "fake-d", manage="docker/up")
    site.add_instance("FakeDataAgent", "fake-u", manage="ignore")
    run_agent("hm-1", python=published_python, env={"PYTHONWARNINGS": "ignore"}, timeout=LIMIT)
    wait_for(lambda: states(told, 1)["fake-1"] == ("up", "up"), LIMIT)
    _, said = told(ocsbow, "status")
    rows = {one["instance_id"]: one for one in said["hosts"][0]["instances"]}
    assert rows["fake-d"]["agent_class"] == "FakeDataAgent[d?]"
    assert rows["fake-u"]["agent_class"] == "FakeDataAgent[unman]"
    assert told(ocsbow, "down", "fake-1", "--wait", str(LIMIT))[0] == 0
    assert states(told, 1)["fake-1"] == ("down", "down")
    assert told(ocs, "restart", "fake-2")[0] == 1
    assert ocsbow(["down", "hm-1", *site.args]) == 0


def test_hosts_of_one_site_are_told_apart(site, managed, told):
    described = yaml.safe_load(site.path.read_text())
    described["hosts"]["far"] = {"agent-instances": [{"agent-class": "HostManager", "instance-id": "hm-far"}]}
    site.path.write_text(yaml.safe_dump(described, sort_keys=False))
    code, said = told(ocsbow, "status")
    assert code == 1
    assert [host["ok"] for host in said["hosts"]] == [True, False]
    code, said = told(ocsbow, "up", "--all")
    assert [order["taken"] for order in said["orders"]] == [True, False]
