"""The host manager with docker services of a real engine, beside agents that are processes."""

import shutil
import signal
import time
import uuid

import psutil
import pytest
import yaml

from tests.harness.docker_engine import IMAGE
from tests.harness.managing import LIMIT, Managed, end_all, kill
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.slow


class Services:
    """A compose file beside a site file, and what its engine has of it."""

    def __init__(self, engine, folder):
        self.engine = engine
        self.project = f"ocs-test-{uuid.uuid4().hex[:8]}"
        self.file = folder / "docker-compose.yaml"
        self.names = {}
        self.write()

    def add(self, *names, **keys):
        for name in names:
            self.names[name] = {
                "image": IMAGE,
                "command": ["sh", "-c", "echo hello; exec sleep 1000"],
                "stop_signal": "SIGKILL",
                "network_mode": "none",
                **keys,
            }
        self.write()

    def write(self):
        self.file.write_text(yaml.safe_dump({"name": self.project, "services": self.names}))

    def container(self, service):
        """The id of a service's running container, or an empty text."""
        filters = [
            f"--filter=label=com.docker.compose.{key}" for key in (f"project={self.project}", f"service={service}")
        ]
        return self.engine.docker("ps", "--quiet", "--no-trunc", *filters)


def make_services(engine, folder):
    made = Services(engine, folder)
    yield made
    engine.remove_project(made.project)


@pytest.fixture
def site(site):
    site.add_instance("HostManager", "hm-1")
    yield site
    end_all(site.directory)


@pytest.fixture
def services(docker_engine, site):
    yield from make_services(docker_engine, site.directory)


@pytest.fixture
def add_docker(site, services):
    """Add instances that docker runs, with their services."""

    def add(*names, manage="docker/up", **keys):
        for name in names:
            site.add_instance("FakeDataAgent", name, manage=manage)
            services.add(f"ocs-{name}", **keys)

    return add


def start_manager(run_agent, services, *arguments):
    words = ["--docker-compose", str(services.file), *arguments]
    return Managed(run_agent("hm-1", *words, env=services.engine.env))


@pytest.fixture
def manage(run_agent, services):
    return lambda *arguments: start_manager(run_agent, services, *arguments)


def test_services_and_processes_are_managed_side_by_side(site, services, add_docker, manage):
    add_docker("boxed")
    add_docker("off", manage="docker/down")
    services.add("crossbar")
    site.add_instance("FakeDataAgent", "lost", manage="docker/up")
    site.add_instance("FakeDataAgent", "plain")
    managed = manage()
    managed.wait_ready("plain")
    managed.wait_action("boxed", "up")
    states = managed.states
    assert {name: (state["agent_class"], state["next_action"]) for name, state in states.items()} == {
        "boxed": ("FakeDataAgent[d]", "up"),
        "off": ("FakeDataAgent[d]", "down"),
        "lost": ("FakeDataAgent[d?]", "?"),
        "plain": ("FakeDataAgent", "up"),
        "crossbar": ("[docker]", "down"),
    }
    assert [states[name]["operable"] for name in states] == [True, True, False, True, True]
    assert states["crossbar"]["target_state"] == "passive"
    assert services.container("ocs-boxed")
    assert not services.container("crossbar")
    assert managed.data["config_parse_status"][str(services.file)][0]
    assert managed.data["docker"] == {"ok": True, "message": ""}


def test_a_container_that_is_killed_comes_back(services, add_docker, manage):
    add_docker("boxed")
    managed = manage()
    managed.wait_action("boxed", "up")
    before, pid = time.time(), managed.pid("boxed")
    services.engine.docker("kill", services.container("ocs-boxed"))
    managed.wait(lambda states: states["boxed"]["stability"] < 1 and states["boxed"]["next_action"] == "up")
    assert services.container("ocs-boxed")
    managed.wait(lambda states: states["boxed"]["exits"] and states["boxed"]["exits"][0]["lines"])
    state = managed.states["boxed"]
    assert [(end["code"], end["lines"]) for end in state["exits"]] == [(137, ["hello"])]
    assert before < state["exits"][0]["time"] <= state["started"] < time.time()
    assert state["restarts"] == 1
    assert state["pid"] not in (None, pid)
    assert psutil.Process(state["pid"]).is_running()


def test_services_are_started_stopped_and_restarted_on_request(services, add_docker, manage):
    add_docker("boxed")
    services.add("crossbar")
    managed = manage()
    managed.wait_action("boxed", "up")
    first, client = services.container("ocs-boxed"), managed.handle.client
    client.restart(instances=["boxed"])
    wait_for(lambda: services.container("ocs-boxed") not in ("", first), LIMIT)
    managed.wait_action("boxed", "up")
    client.update(requests=[["boxed", "down"], ["crossbar", "up"]])
    managed.wait_action("boxed", "down")
    managed.wait(
        lambda states: (states["crossbar"]["next_action"], states["crossbar"]["target_state"]) == ("up", "passive")
    )
    assert services.container("crossbar")
    assert not services.container("ocs-boxed")


def test_a_stop_brings_down_what_is_managed_and_leaves_what_is_only_watched(services, add_docker, manage):
    add_docker("boxed")
    services.add("crossbar")
    managed = manage()
    managed.wait_action("boxed", "up")
    managed.handle.client.update(requests=[["crossbar", "up"]])
    managed.wait_action("crossbar", "up")
    assert managed.handle.stop(signal.SIGTERM, timeout=LIMIT) == 0
    assert not services.container("ocs-boxed")
    assert services.container("crossbar")


@pytest.mark.parametrize("how", ["disown", "leave", "kill"])
def test_containers_run_on_where_they_are_to(services, add_docker, manage, how):
    add_docker("boxed")
    first = manage()
    first.wait_action("boxed", "up")
    container = services.container("ocs-boxed")
    if how == "kill":
        first.handle.kill_alone()
    else:
        first.handle.client.die(**{"disown": {"disown_dockers": True}, "leave": {"leave_running": True}}[how])
        assert first.handle.process.wait(LIMIT) == 0
    assert services.container("ocs-boxed") == container
    manage().wait_action("boxed", "up")
    assert services.container("ocs-boxed") == container


def test_a_broken_compose_file_changes_nothing_until_it_is_mended(services, add_docker, manage):
    add_docker("boxed")
    managed = manage()
    managed.wait_action("boxed", "up")
    container = services.container("ocs-boxed")
    services.file.write_text("services: [\n")
    name = str(services.file)
    managed.wait(lambda _states: not managed.data["config_parse_status"][name][0])
    assert services.container("ocs-boxed") == container
    assert managed.states["boxed"]["agent_class"] == "FakeDataAgent[d]"
    assert managed.session["op_code"] == 8
    services.add("crossbar")
    managed.wait(lambda states: "crossbar" in states and managed.data["config_parse_status"][name][0])
    assert services.container("ocs-boxed") == container


def test_what_a_container_has_printed_can_be_read(add_docker, manage):
    add_docker("boxed")
    managed = manage()
    managed.wait_action("boxed", "up")
    assert managed.handle.client.logs(instance_id="boxed").session["data"]["lines"] == ["hello"]


def test_a_service_that_cannot_be_started_says_why_and_keeps_nobody(site, services, add_docker, manage):
    add_docker("boxed", image=f"ocs-test/none-{uuid.uuid4().hex[:8]}:1")
    site.add_instance("FakeDataAgent", "plain", **{"start-level": 3})
    managed = manage()
    managed.wait_action("boxed", "start_at")
    managed.wait_ready("plain")
    assert any("could not be started" in message for message in managed.messages)
    assert "boxed" in managed.data["new_tags"]


def test_orphans_are_shown_and_removed(services, add_docker, manage):
    add_docker("boxed")
    managed = manage()
    managed.wait_action("boxed", "up")
    services.add("old")
    services.engine.compose(services.file, "up", "--detach", "old")
    container = services.container("old")
    del services.names["old"]
    services.write()
    managed.wait(lambda _states: managed.data["orphans"])
    assert [entry["service"] for entry in managed.data["orphans"].values()] == ["old"]
    assert managed.handle.client.remove_orphans(stop_time=1.0).session["success"]
    assert not services.container("old")
    assert container
    managed.wait(lambda _states: not managed.data["orphans"])
    assert services.container("ocs-boxed")


def test_docker_pull_tells_what_cannot_be_fetched(services, add_docker, manage):
    add_docker("boxed", image="127.0.0.1:9/none:1")
    reply = manage().handle.client.docker_pull()
    assert not reply.session["success"]
    assert "127.0.0.1:9" in " ".join(text for _time, text in reply.session["messages"])


@pytest.mark.faults
def test_an_engine_that_goes_away_degrades_docker_alone_and_is_found_again(own_docker_engine, site, run_agent):
    site.add_instance("FakeDataAgent", "boxed", manage="docker/up").add_instance("FakeDataAgent", "plain")
    services = Services(own_docker_engine, site.directory)
    services.add("ocs-boxed")
    managed = start_manager(run_agent, services)
    managed.wait_action("boxed", "up")
    managed.wait_ready("plain")
    own_docker_engine.kill()
    managed.wait_action("boxed", "?", timeout=90)
    assert managed.data["docker"]["message"]
    assert managed.session["op_code"] == 8
    old = managed.pid("plain")
    kill(old)
    managed.wait_new_pid("plain", old)
    own_docker_engine.start()
    managed.wait_action("boxed", "up", timeout=90)
    managed.wait(lambda _states: managed.data["docker"] == {"ok": True, "message": ""})
    assert managed.session["op_code"] == 3


def test_a_machine_without_docker_keeps_its_processes(site, run_agent, tmp_path):
    site.add_instance("FakeDataAgent", "boxed", manage="docker/up").add_instance("FakeDataAgent", "plain")
    file = tmp_path / "docker-compose.yaml"
    file.write_text("services: {}\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "setsid").symlink_to(shutil.which("setsid"))
    managed = Managed(run_agent("hm-1", "--docker-compose", str(file), env={"PATH": str(tmp_path / "bin")}))
    managed.wait_ready("plain")
    managed.wait(lambda _states: not managed.data["docker"]["ok"])
    assert "docker" in managed.data["docker"]["message"]
    assert managed.states["boxed"]["next_action"] == "?"
