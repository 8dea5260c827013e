"""Every question of the dashboards and rules for Prometheus is answered by a real one, with a real site behind it."""

import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from dashboards.files import FOLDER

from ocs.router.server import free_port
from tests.harness.grafana import fill, questions, read_dashboards, read_rules, rule_questions
from tests.harness.grafana_asking import Prometheus, answers, unanswered
from tests.harness.managing import Managed, end_all, kill
from tests.harness.prometheus import answers_ok, prometheus
from tests.harness.pysmurf import announce, file_datagram, free_udp_port, make_file
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


DASHBOARDS = read_dashboards(FOLDER / "dashboards" / "prometheus")
RULES = read_rules(FOLDER / "alerting" / "prometheus" / "ocs.yaml")
WATCHED = "rules: [{name: a task failed, kind: operation_failed}]"


@contextmanager
def agent_service(site):
    """The agent service; gives its host and port."""
    port = free_port()
    command = [sys.executable, "-m", "ocs.cli.agent_service", "start", "--no-auth", "--port", str(port), *site.args]
    with (site.directory / "agent-service.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=site.directory)
    try:
        wait_for(lambda: answers_ok(f"http://127.0.0.1:{port}/health"), 60)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def ask_agent_service(service):
    """Ask it for something possible, and for nonsense."""
    for body in ({"_type": "GetAgentStatus"}, {"_type": "Nonsense"}):
        asked = Request(f"http://{service}/post-endpoint", json.dumps(body).encode())
        asked.add_header("Content-Type", "application/json")
        with suppress(HTTPError), urlopen(asked, timeout=10):
            pass


class Happenings:
    """A running site of which a Prometheus knows, and what can happen to it."""

    def __init__(self, site, run_agent, folder, influxd):
        self.site, self.folder = site, folder
        self.exporter, self.udp = free_port(), free_udp_port()
        self._run_agent = run_agent
        self._add("RegistryAgent", "registry", "--wait-time", 1)
        self._add("AggregatorAgent", "aggregator", "--initial-state", "record", "--data-dir", folder / "hk")
        self._add("InfluxDBAgent", "influxdb", "--host", influxd.host, "--port", influxd.port, "--database", "prom")
        self._add("WatcherAgent", "watcher")
        self._add("PrometheusExporter", "exporter", "--port", self.exporter)
        pysmurf = ("--udp-port", self.udp, "--bind", "127.0.0.1", "--db-path", folder / "suprsync.db")
        self._add("PysmurfMonitor", "pysmurf", *pysmurf, "--allow-root", folder / "data")
        self._add("SpawnAgent", "spawner", "--working-dir", site.directory)
        self._add("FakeDataAgent", "fake-1", "--mode", "acq")
        self._add("BarebonesAgent", "mortal")
        site.add_instance("HostManager", "hm-1")
        site.add_instance("BarebonesAgent", "managed")
        site.path.with_name("watcher-rules.yaml").write_text(WATCHED)

    def _add(self, agent_class, instance_id, *arguments):
        self.site.add_instance(agent_class, instance_id, [str(word) for word in arguments], manage="ignore")

    def start(self):
        names = ("exporter", "registry", "aggregator", "influxdb", "watcher", "pysmurf", "spawner", "mortal", "fake-1")
        self.agents = {name: self._run_agent(name, wait=False) for name in names}
        self.manager = Managed(self._run_agent("hm-1", timeout=60))
        for agent in self.agents.values():
            agent.wait_until_ready(60)
        self.manager.wait_ready("managed")

    def happen(self):
        """An agent dies, a task fails, a process degrades, an instance is restarted, a file is announced."""
        self.agents["mortal"].kill()
        fake = self.agents["fake-1"].client
        assert not fake.delay_task(delay=0.1, succeed=False).session["success"]
        fake.acq.stop()
        fake.acq.wait(timeout=20)
        assert fake.acq.start(degradation_period=3)[0] == 0
        kill(self.manager.pid("managed"))
        announce(self.udp, file_datagram(make_file(self.folder / "data" / "one.npy")))


@pytest.fixture
def site_and_prometheus(influxd, site, run_agent, tmp_path):
    happenings = Happenings(site, run_agent, tmp_path, influxd)
    try:
        happenings.start()
        with (
            agent_service(site) as service,
            prometheus(tmp_path / "prometheus", ocs=f"127.0.0.1:{happenings.exporter}", service=service) as url,
        ):
            happenings.service = service
            yield happenings, Prometheus(url)
    finally:
        end_all(site.directory)


def metrics_of(rule):
    """Return the names of the metrics that a rule asks for."""
    return {name for asked in rule_questions(rule) for name in re.findall(r"\bocs_\w+", asked.text)}


def test_every_question_is_understood(tmp_path):
    """By a Prometheus that knows nothing yet."""
    with prometheus(tmp_path / "prometheus") as url:
        source = Prometheus(url)
        for dashboard in DASHBOARDS:
            variables = {item["name"]: ["x", "y"] for item in dashboard.get("templating", {}).get("list", ())}
            for asked in questions(dashboard):
                text = fill(asked.text, {**source.own, **variables}, "prometheus")
                assert isinstance(source.newest(asked, text, time.time()), dict), asked.place
        for rule in RULES:
            for asked in rule_questions(rule):
                assert isinstance(answers(asked, source), dict), asked.place


def test_every_question_is_answered(site_and_prometheus):
    happenings, source = site_and_prometheus
    wait_for(
        lambda: "ocs_instance_restarts_total" in source.listed("label_values(ocs_instance_restarts_total, __name__)"),
        60,
    )
    happenings.happen()
    deadline = time.monotonic() + 90
    missing = {dashboard["uid"]: ["not asked yet"] for dashboard in DASHBOARDS}
    while missing and time.monotonic() < deadline:
        ask_agent_service(happenings.service)
        time.sleep(1)  # as often as Prometheus looks
        asked = {one["uid"]: unanswered(one, source) for one in DASHBOARDS if one["uid"] in missing}
        missing = {uid: lines for uid, lines in asked.items() if lines}
    assert missing == {}
    known = set(source.listed('label_values({__name__=~"ocs_.*"}, __name__)'))
    assert {rule["uid"]: metrics_of(rule) - known for rule in RULES if metrics_of(rule) - known} == {}
