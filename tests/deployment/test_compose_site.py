"""`docker compose up` in docker/ gives a whole site that records, also when parts of it are killed or replaced."""

import json
import re
import time
from pathlib import Path

import pytest

from ocs.errors import OCSError
from ocs.hk import gaps, load
from ocs.ocs_client import OCSClient
from tests.deployment.building import ROOT, Deployment, copy_sources, free_port, move_port
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(900)]  # the first test waits for the images

AGENTS = {"registry", "aggregator", "watcher", "fake-1", "fake-2"}
MONITORING = {"influxdb", "prometheus", "grafana", "ocs-influxdb", "ocs-exporter"}
HEALTH = ("python", "/usr/local/lib/ocs/healthcheck.py")


class ComposeSite(Deployment):
    """The compose site, brought up on a free port in a folder of its own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.project = f"ocs-test-{free_port()}"
        port = free_port()
        super().__init__(folder, {**env, "OCS_PORT": str(port), "COMPOSE_PROJECT_NAME": self.project})
        self.site_file = folder / "site" / "default.yaml"
        move_port(self.site_file, port)

    def client(self, instance_id: str, timeout: float = 60.0) -> OCSClient:
        """Return a client of an agent, outside of all containers, as soon as the agent answers."""
        return wait_for(lambda: self._try_client(instance_id), timeout)

    def _try_client(self, instance_id: str) -> OCSClient | None:
        try:
            return OCSClient(instance_id, args=["--site-file", str(self.site_file)])
        except OCSError:
            return None

    def crash(self, service: str) -> None:
        """Kill the program in a container, which Docker then starts again."""
        kill = "import os, psutil; os.kill(next(p.pid for p in psutil.process_iter() if p.ppid() == 1), 9)"
        self.compose("exec", "--no-TTY", service, "python", "-c", kill, check=False)

    def wait_until_recorded(self, since: float) -> None:
        """Wait until the recorder has had data of after `since` (unix s) from both agents, and misses none."""
        aggregator = self.client("aggregator")

        def has_all() -> bool:
            data = aggregator.record.status().session["data"]
            providers = data.get("providers", {})  # none in the first moments of a recorder's life
            newest = [entry["last_refresh"] for name, entry in providers.items() if "fake" in name]
            behind = data.get("messages", {}).get("behind")
            return len(newest) == 2 and min(newest) > since and behind == 0

        wait_for(has_all, 60)

    def archive(self, target: Path) -> Path:
        """Have everything written out, and copy it out of the volume."""
        aggregator = self.client("aggregator")
        aggregator.record.stop()
        assert aggregator.record.wait(timeout=30).session["success"]
        self.compose("cp", "ocs-aggregator:/data", str(target))
        aggregator.record.start()
        return target


@pytest.fixture(scope="module")
def site(images, tmp_path_factory):
    folder = copy_sources(tmp_path_factory.mktemp("compose-site"))
    running = ComposeSite(folder, images)
    try:
        running.compose("up", "--detach", timeout=120)
        for name in AGENTS:
            running.client(name)
        yield running
        running.compose("stop", timeout=120)
        codes = {
            name: running.inspect(name, "{{.State.ExitCode}}") for name in ("router", "ocs-fake-1", "ocs-aggregator")
        }
        assert codes == dict.fromkeys(codes, "0")
    finally:
        print(running.compose("logs", "--no-color", check=False))
        running.compose("down", "--volumes", "--remove-orphans", timeout=120)
    for kind in ("container", "volume", "network"):
        label = f"label=com.docker.compose.project={running.project}"
        every = ["--all"] if kind == "container" else []
        assert running.run("docker", kind, "ls", *every, "--quiet", "--filter", label).stdout == "", kind


def test_agents_in_containers_are_driven_from_outside(site):
    fake = site.client("fake-1")
    wait_for(lambda: fake.acq.status().session["status"] == "running")
    fake.acq.stop()
    assert fake.acq.wait(timeout=20).session["success"]
    assert fake.acq.start()[0] == 0
    assert fake.delay_task(delay=0.1).session["success"]


def test_the_profile_for_monitoring_adds_database_and_plots(site):
    all_services = site.compose("--profile", "monitoring", "config", "--services").split()
    assert set(all_services) - set(site.compose("config", "--services").split()) == MONITORING


def test_who_feeds_the_databases_works_in_its_container(site):
    feeders = ("ocs-exporter", "ocs-influxdb")
    site.compose("--profile", "monitoring", "up", "--detach", "--no-deps", *feeders)
    try:
        site.client("exporter")
        url = "http://ocs-exporter:9185/metrics"
        ask = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=20).read().decode())"

        def sees_a_fake_agent() -> bool:
            told = site.compose("exec", "--no-TTY", "ocs-registry", "python", "-c", ask, check=False)
            return 'ocs_agent_up{agent="fake-1",agent_class="FakeDataAgent"} 1.0' in told

        wait_for(sees_a_fake_agent, 30)
        publisher = site.client("influxdb")
        trouble = wait_for(lambda: publisher.record.status().session["data"].get("last_error"), 30)
        assert "influxdb:8086" in trouble  # which cannot be pulled here
    finally:
        site.compose("--profile", "monitoring", "rm", "--stop", "--force", *feeders)


def test_the_registry_knows_all_agents_of_the_site(site):
    registry = site.client("registry")
    addresses = {f"observatory.{name}" for name in AGENTS}
    assert wait_for(lambda: addresses <= set(registry.main.status().session["data"]), 30)


def test_what_is_recorded_in_the_volume_is_read_with_so3g(site, tmp_path):
    from so3g.hk import HKArchiveScanner

    site.wait_until_recorded(time.time())
    scanner = HKArchiveScanner()
    for path in sorted(site.archive(tmp_path / "data").glob("[0-9]*/*.g3")):
        scanner.process_file(str(path))
    times, values = scanner.finalize().simple("observatory.fake-2.feeds.false_temperatures.channel_15")
    assert len(times) == len(values) > 10


def test_a_recorder_that_is_killed_comes_back_and_nothing_is_missing(site, tmp_path):
    begun = time.time()
    site.wait_until_recorded(begun)
    site.crash("ocs-aggregator")
    killed = time.time()
    wait_for(lambda: int(site.inspect("ocs-aggregator", "{{.RestartCount}}")) >= 1, 30)
    site.wait_until_recorded(killed)
    data = site.archive(tmp_path / "data")
    assert gaps(data, "fake-2", start=begun, stop=killed + 1, longer_than=1.0) == []


def test_what_an_agent_kept_outlives_its_container(site, tmp_path):
    """The recorder is away while an agent is replaced, as in an upgrade."""
    site.wait_until_recorded(time.time())
    site.compose("stop", "ocs-aggregator")
    away = time.time()
    fake = site.client("fake-1")
    wait_for(lambda: fake.acq.status().session["data"]["timestamp"] > away + 2)
    before = site.inspect("ocs-fake-1", "{{.Id}}")
    site.compose("up", "--detach", "--force-recreate", "--no-deps", "ocs-fake-1")
    replaced = time.time()
    assert site.inspect("ocs-fake-1", "{{.Id}}") != before
    site.compose("start", "ocs-aggregator")
    site.wait_until_recorded(replaced)
    data = site.archive(tmp_path / "data")
    assert {gap.kind for gap in gaps(data, "fake-1")} <= {"agent off", "no data"}
    times, _ = load(data, "fake-1.channel_00", start=away, stop=away + 2)["channel_00"]
    assert len(times) > 10


def test_an_agent_is_healthy_as_long_as_it_answers_through_the_router(site):
    site.client("fake-2")
    assert "FakeDataAgent answers" in site.compose("exec", "--no-TTY", "ocs-fake-2", *HEALTH)
    assert "serves realm 'test_realm'" in site.compose("exec", "--no-TTY", "router", *HEALTH)
    site.compose("stop", "router")
    sick = site.run("docker", "compose", "exec", "--no-TTY", "ocs-fake-2", *HEALTH, check=False)
    site.compose("start", "router")
    assert sick.returncode == 1
    assert len(sick.stdout.splitlines()) == 1, sick.stdout
    site.client("fake-2")


def test_the_engine_is_told_how_to_look_after_a_container(site):
    test = json.loads(site.inspect("ocs-fake-1", "{{json .Config.Healthcheck}}"))
    assert test["Test"] == ["CMD", *HEALTH]
    assert site.inspect("ocs-fake-1", "{{.Config.StopSignal}} {{.HostConfig.ReadonlyRootfs}}") == "SIGINT true"


def test_nobody_in_a_container_is_root_or_can_change_the_programs(site):
    ask = "import os; print(os.getuid(), *(os.access(path, os.W_OK) for path in ('/opt/ocs', '/config', '/state')))"
    for service in ("ocs-fake-1", "ocs-aggregator", "router"):
        printed = site.compose("exec", "--no-TTY", service, "python", "-c", ask).split()
        assert printed[:3] == ["1000", "False", "False"], service
    assert site.compose("exec", "--no-TTY", "ocs-fake-1", "python", "-c", ask).split()[3] == "True"


def test_agents_write_log_files_into_their_volume(site):
    site.client("fake-1")
    text = site.compose("exec", "--no-TTY", "ocs-registry", "cat", "/logs/observatory.fake-1.log")
    assert "joined test_realm as observatory.fake-1" in text


def test_an_agent_is_added_as_the_documentation_says(site):
    page = (ROOT / "docs" / "user" / "docker.md").read_text().partition("## Add an agent")[2]
    instance, service = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[:2]
    compose_file = site.folder / "compose.yaml"
    site.site_file.write_text(site.site_file.read_text() + "\n" + instance)
    compose_file.write_text(compose_file.read_text().replace("\nservices:\n", f"\nservices:\n{service}\n"))
    running = site.inspect("ocs-fake-2", "{{.Id}} {{.State.StartedAt}}")
    site.compose("up", "--detach")
    fake = site.client("fake-3")
    assert wait_for(lambda: fake.acq.status().session["status"] == "running")
    assert site.inspect("ocs-fake-2", "{{.Id}} {{.State.StartedAt}}") == running


def test_a_starting_agent_has_nothing_to_compile(site):
    """It could not keep it, so that every start would cost three times as much."""
    print_uncompiled = """
import os, sys, types
import ocs.agent_cli, ocs.agents.fake_data.agent, twisted.internet.reactor
loaded = [module for module in [*sys.modules.values()] if type(module) is types.ModuleType]  # not lazy ones
print([module for module in loaded if module.__dict__.get("__cached__") and not os.path.exists(module.__cached__)])
"""
    assert site.compose("exec", "--no-TTY", "ocs-fake-2", "python", "-c", print_uncompiled) == "[]\n"
