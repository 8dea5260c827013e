"""The site of docker/, with its monitoring, on this machine and thirty times as fast as it is shipped.

Router, agents, InfluxDB and Prometheus are real; the rules are those that docker/ ships, with their lengths of time
divided by `FASTER`. What agents do by themselves (a heartbeat each second, silent after 5 s) goes at its usual pace.
"""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import yaml
from dashboards.files import FOLDER
from dashboards.files import RULES as PROMETHEUS_RULES

from ocs.agents.watcher.amounts import duration
from ocs.router.config import crossbar_config
from ocs.router.server import Router, free_port
from tests.harness.agents import AgentHandle, start_agent
from tests.harness.grafana import NoValuesError, Question, fill, questions, read_dashboards, read_rules, resolve
from tests.harness.grafana_asking import LOOKS_BACK, Influx, Prometheus, firing
from tests.harness.influx import Influxd
from tests.harness.notified import Webhook
from tests.harness.prometheus import prometheus
from tests.harness.site import Site

FASTER = 30
"""How much faster all rules are than those that are shipped."""
WATCHER_RULES = FOLDER.parent / "site" / "watcher-rules.yaml"
DATABASE = "ocs_feeds"
DEVICE = "the-device"
"""A file without which the operation `acq` of the agent `device` is degraded."""
_EVERY = 1.0
"""Seconds between two looks of Grafana at its rules: they are 30 as it is shipped."""

_DEVICE_AGENT = Path(__file__).with_name("degrading_agent.py")
_HUB = SimpleNamespace(
    wamp_server="ws://127.0.0.1:8001/ws",
    wamp_http="http://127.0.0.1:8001/call",
    wamp_realm="test_realm",
    address_root="observatory",
)
_LENGTH = re.compile(r"\b(\d+)(s|m|h)\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def hastened_watcher_rules(text: str, webhook: str) -> dict[str, Any]:
    """Return the rules of a watcher's file with every `for` and `within` that it gives shortened, telling a webhook.

    Args:
        text: of the file.
        webhook: its URL.
    """
    rules = yaml.safe_load(text)
    for rule in rules["rules"]:
        rule.update({key: duration(rule[key]) / FASTER for key in ("for", "within") if key in rule})
    target = {"name": "hook", "webhook": {"url": webhook}, "interval": 0, "gather": "100 ms"}
    return {"targets": [target], **rules}


def hastened_prometheus_rules(text: str) -> dict[str, Any]:
    """Return the groups of a rules file of Prometheus with every length of time shortened: `for`, ranges, offsets."""
    found = yaml.safe_load(text)
    for rule in (rule for group in found["groups"] for rule in group["rules"]):
        rule.update({key: hastened_lengths(rule[key]) for key in ("expr", "for") if key in rule})
    return found


def hastened_lengths(text: str) -> str:
    """Return a text with lengths of time, as Prometheus writes them, shortened."""
    return _LENGTH.sub(lambda found: f"{int(found[1]) * _SECONDS[found[2]] * 1000 // FASTER}ms", text)


def hastened_grafana_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule of Grafana that looks back less far, and whose `for` is a number of seconds."""
    data = []
    for query in rule["data"]:
        span = {end: seconds / FASTER for end, seconds in query.get("relativeTimeRange", {}).items()}
        data.append({**query, "relativeTimeRange": span} if span else query)
    return {**rule, "data": data, "for": duration(rule["for"]) / FASTER}


class Alerting:
    """Grafana's alerting on InfluxDB: looks at all of its rules as often as Grafana does, as much faster as they are.

    Attributes:
        fired: what each rule has fired for so far, by its title: operations as `named` has them, or "silence".
        firing: what each fires for now.
        broken: why it has ended, if it has.
    """

    def __init__(self, influx: Influx) -> None:
        found = read_rules(FOLDER / "alerting" / "influxdb" / "ocs.yaml")
        self._rules = {rule["title"].removesuffix(" (InfluxDB)"): hastened_grafana_rule(rule) for rule in found}
        self.fired: dict[str, set[str]] = {title: set() for title in self._rules}
        self.firing: dict[str, set[str]] = {title: set() for title in self._rules}
        self.broken = ""
        self._since: dict[tuple[str, str], float] = {}
        self._influx = influx
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerting")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._end.wait(_EVERY):
                for title, rule in self._rules.items():
                    self._look(title, rule)
        except Exception as error:  # for the test to tell
            self.broken = repr(error)
            raise

    def _look(self, title: str, rule: Mapping[str, Any]) -> None:
        now, found = time.monotonic(), self._found(rule)
        self._since = {key: since for key, since in self._since.items() if key[0] != title or key[1] in found}
        for subject in found:
            self._since.setdefault((title, subject), now)
        self.firing[title] = {one for one in found if now - self._since[title, one] >= rule["for"]}
        self.fired[title] |= self.firing[title]

    def _found(self, rule: Mapping[str, Any]) -> set[str]:
        found = firing(rule, self._influx)
        if found is None:
            return {"silence"} if rule["noDataState"] == "Alerting" else set()
        return {named({"name": name}) for name in found}


class MonitoredSite:
    """The running site. Made by `monitored_site`.

    Attributes:
        router: to be killed and started again.
        hook: where the watcher's notifications arrive.
        alerting: Grafana's rules for InfluxDB.
        agents: the running agents, by instance-id.
    """

    def __init__(self, site: Site, router: Router, hook: Webhook, alerting: Alerting, *sources: Any) -> None:
        self.site, self.router, self.hook, self.alerting = site, router, hook, alerting
        self.agents: dict[str, AgentHandle] = {}
        self._sources: dict[str, Any] = {source.name: source for source in sources}
        self._dashboards = {board["uid"]: board for board in read_dashboards(FOLDER / "dashboards")}

    # Agents

    def start(self, *names: str) -> None:
        """Start agents, together, and wait until they answer."""
        for name in names:
            program = [str(_DEVICE_AGENT)] if name == "device" else ["-m", "ocs.agent_cli"]
            self.agents[name] = start_agent(self.site, name, program=program)
        for name in names:
            self.agents[name].wait_until_ready(60)

    def end(self) -> None:
        """End all agents."""
        running = [agent for agent in self.agents.values() if agent.process.poll() is None]
        for agent in running:
            agent.process.terminate()
        for agent in running:
            try:
                agent.process.wait(10)
            except subprocess.TimeoutExpired:
                agent.kill()
        for agent in self.agents.values():
            print(f"--- output of {agent.instance_id} ---\n{agent.output}")  # pytest shows it if a test failed

    @property
    def device(self) -> Path:
        """The file without which the agent `device` is degraded."""
        return self.site.directory / DEVICE

    # What Grafana shows

    def monitor(self, database: str, since: float = 0.0) -> dict[str, float]:
        """Return what the operation monitor shows: the newest op code of each operation, as `named` has them.

        Args:
            database: "influxdb" or "prometheus".
            since: leave out what is older (unix s).
        """
        found = self.panel(database, "operations", "Operations", since)
        return {named(dict(labels)): value for labels, value in found.items()}

    def panel(self, database: str, board: str, title: str, since: float = 0.0) -> dict[Any, float]:
        """Return the newest values that a panel of a dashboard shows, by their labels."""
        now, source = time.time(), self._sources[database]
        try:
            asked, text = self._question(f"ocs-{board}-{database}", title, source)
        except NoValuesError:
            return {}
        return source.newest(asked._replace(begin=min(now - since, LOOKS_BACK)), text, now)

    def has_run_for(self, seconds: float, operation: str) -> bool:
        """Tell whether InfluxDB has known for long that an operation runs.

        Args:
            seconds: as the rules are shipped; here it takes less.
            operation: as `named` has it.
        """
        ago = f"now() - {seconds / FASTER * 1000:.0f}ms"
        text = f'SELECT first("observatory_{operation}") FROM /registry/ WHERE time < {ago}'
        return bool(self._sources["influxdb"].rows(text))

    def history_of_alarms(self) -> list[dict[str, Any]]:
        """Return the rows of the table of alarms: what the watcher has published on its feed, the newest first."""
        source = self._sources["influxdb"]
        try:
            _, text = self._question("ocs-alarms-influxdb", "Changes", source)
        except NoValuesError:
            return []
        return source.rows(text.replace("$timeFilter", "time > 0"))

    def _question(self, uid: str, panel: str, source: Any) -> tuple[Question, str]:
        board = self._dashboards[uid]
        values = resolve(board, source.own, lambda _backend, text: source.listed(text))
        asked = next(one for one in questions(board) if one.place.endswith(f": {panel}"))
        return asked, fill(asked.text, {**values, "timeFilter": ["$timeFilter"]}, source.name)

    def prometheus_says(self, query: str) -> list[dict[str, str]]:
        """Return the labels of the series that a query finds."""
        asked = Question("", "prometheus", query, over_time=False)
        return [dict(labels) for labels in self._sources["prometheus"].newest(asked, query, time.time())]

    # Alarms

    def prometheus_fires(self, title: str) -> list[dict[str, str]]:
        """Return the labels of what a rule of Prometheus fires for; `title`: what Grafana calls it."""
        name = "Ocs" + "".join(word.capitalize() for word in title.split())
        return self.prometheus_says(f'ALERTS{{alertname="{name}",alertstate="firing"}}')

    def alarms(self) -> dict[tuple[str, str], str]:
        """Return what `ocs alarms` shows: the state by rule and subject."""
        command = [sys.executable, "-m", "ocs.cli.main", "alarms", "--json", *self.site.args]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert shown.returncode in (0, 1), shown.stderr
        return {(one["rule"], one["subject"]): one["state"] for one in json.loads(shown.stdout)["alarms"]}


def named(labels: Mapping[str, str]) -> str:
    """Return the operation that a series is about, as the registry's fields have it: `fake_1_acq`."""
    if "agent" in labels:
        return re.sub("[.-]", "_", f"{labels['agent']}_{labels['operation']}")
    return labels["name"].rpartition(" ")[2].removeprefix("last_").removeprefix("observatory_")


@contextmanager
def monitored_site(folder: Path) -> Iterator[MonitoredSite]:
    """Run the site: registry, recorder, agents with data and with a device, watcher, and who feeds the databases."""
    with ExitStack() as stack:
        router = Router(crossbar_config(_HUB, host="127.0.0.1", port=free_port()), folder / "router")
        stack.enter_context(router)
        server = Influxd(folder / "influxd").start()
        stack.callback(server.stop)
        server.query(f'CREATE DATABASE "{DATABASE}"')  # as compose.yaml has it
        hook = stack.enter_context(Webhook().running())
        influx = Influx(server, DATABASE)
        site = _described(folder, router, server)
        site.path.with_name(WATCHER_RULES.name).write_text(
            yaml.safe_dump(hastened_watcher_rules(WATCHER_RULES.read_text(), hook.url))
        )
        url = stack.enter_context(_prometheus(folder / "prometheus", _exporter_port(site)))
        alerting = stack.enter_context(Alerting(influx))
        running = MonitoredSite(site, router, hook, alerting, influx, Prometheus(url))
        stack.callback(running.end)
        running.start(*(instance["instance-id"] for instance in site.instances))
        yield running


def _described(folder: Path, router: Router, server: Influxd) -> Site:
    """Describe the agents of docker/site/default.yaml, by the same names, and one whose device may be away."""
    site = Site(folder, router)
    site.host["crossbar_timeout"] = 0
    site.add_instance("RegistryAgent", "registry", ["--wait-time", "1"])  # 30 s unless given
    site.add_instance("AggregatorAgent", "aggregator", ["--initial-state", "record", "--data-dir", str(folder / "hk")])
    for name in ("fake-1", "fake-2"):
        site.add_instance("FakeDataAgent", name, ["--mode", "acq", "--frame-length", "1"])
    site.add_instance("DegradingAgent", "device", ["--device", str(folder / DEVICE)])
    (folder / DEVICE).touch()
    site.add_instance("WatcherAgent", "watcher", ["--rules", WATCHER_RULES.name])
    feeds = ["--host", server.host, "--port", server.port, "--database", DATABASE]
    site.add_instance("InfluxDBAgent", "influxdb", feeds)
    return site.add_instance("PrometheusExporter", "exporter", ["--interval", "1", "--port", free_port()])


def _exporter_port(site: Site) -> int:
    return int(site.instances[-1]["arguments"][-1])


@contextmanager
def _prometheus(folder: Path, exporter: int) -> Iterator[str]:
    """Run a Prometheus that goes by the rules of docker/, hastened, and asks each second; gives its URL."""
    (folder / "rules").mkdir(parents=True)
    for path in PROMETHEUS_RULES.glob("*.yml"):
        (folder / "rules" / path.name).write_text(yaml.safe_dump(hastened_prometheus_rules(path.read_text())))
    with prometheus(folder / "server", rules=folder / "rules", ocs=f"127.0.0.1:{exporter}") as url:
        yield url
