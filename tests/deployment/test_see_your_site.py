"""What docs/user/see-your-site.md promises: an agent dies, one degrades, the recorder stops, the router goes away."""

import re
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from dashboards.files import FOLDER, RULES

from ocs.agents.watcher.amounts import duration
from ocs.agents.watcher.rules_file import read_rules
from ocs.base import OK, OpCode
from ocs.hk import load
from tests.harness.grafana import read_rules as read_grafana_rules
from tests.harness.monitored_site import WATCHER_RULES, hastened_lengths, monitored_site
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "user" / "see-your-site.md"
SILENCE = 5.0
"""Seconds after which an agent has expired."""
PATIENCE = 60.0


class Alert(NamedTuple):
    """A rule, and how long after the happening it fires (s)."""

    rule: str
    after: float


class Promise(NamedTuple):
    """A row of the page's table: what the operation monitor shows, and the alerts that are raised."""

    shows: str
    watcher: Alert
    prometheus: Alert
    influxdb: Alert


def promises():
    """Read the page's table; by what happens, as its first words have it."""
    table = PAGE.read_text().partition("### What you are told when")[2].partition("\n\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {
        happening: Promise(re.search(r"\*(.+?)\*", shows)[1], *map(alert, alerts))
        for happening, shows, *alerts, _over in rows
    }


def alert(cell):
    rule, _, after = cell.rpartition(", ")
    return Alert(rule, duration(after))


def promised(word):
    (found,) = [promise for happening, promise in promises().items() if word in happening]
    return found


# The page and the rules


def prometheus_rules():
    groups = [group for path in RULES.glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    return {words(rule["alert"]): rule for group in groups for rule in group["rules"]}


def words(name):
    return re.sub("(?<=[a-z])([A-Z])", lambda found: " " + found[1].lower(), name.removeprefix("Ocs"))


def influxdb_rules():
    rules = read_grafana_rules(FOLDER / "alerting" / "influxdb" / "ocs.yaml")
    return {rule["title"].removesuffix(" (InfluxDB)"): rule for rule in rules}


def looks_back(rule):
    """How long nothing must have come for a rule that silence sets off."""
    return rule["data"][0]["relativeTimeRange"]["from"] if rule["noDataState"] == "Alerting" else 0


@pytest.mark.parametrize("happening", promises())
def test_the_page_names_the_rules_that_are_shipped_and_how_long_they_wait(happening):
    promise = promises()[happening]
    silence = SILENCE if promise.shows == "expired" else 0.0
    watched = {rule.name: rule for rule in read_rules(WATCHER_RULES).rules}[promise.watcher.rule]
    scraped = prometheus_rules()[promise.prometheus.rule]
    kept = influxdb_rules()[promise.influxdb.rule]
    assert promise.watcher.after == silence + watched.wait
    assert promise.prometheus.after == silence + duration(scraped.get("for", "0s"))
    assert promise.influxdb.after == silence + duration(kept["for"]) + looks_back(kept)


def test_lengths_of_time_in_rules_are_shortened_and_nothing_else():
    text = "increase(ocs_x_total[10m:15s] offset 5m) > 10 * 2^20 and y1m == 3"
    assert hastened_lengths(text) == "increase(ocs_x_total[20000ms:500ms] offset 10000ms) > 10 * 2^20 and y1m == 3"
    assert hastened_lengths("1m") == "2000ms"


# The site

TROUBLES = {
    "killed": ("fake-1", "fake_1_acq"),
    "degraded": ("device.acq", "device_acq"),
    "`record`": ("aggregator.record", "aggregator_record"),
}
"""What is in trouble, by a word of what happens: the subject of the watcher's alarm, and the operation."""
LONG = 720.0
"""Seconds that a rule of InfluxDB looks back, as it is shipped."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with monitored_site(tmp_path_factory.mktemp("monitored-site")) as running:
        wait_for(lambda: all_is_well(running), PATIENCE)
        yield running
        assert running.alerting.broken == ""


DATABASES = ("influxdb", "prometheus")


def all_is_well(site, since=0.0):
    shown = [site.monitor(database, since) for database in DATABASES]
    return all(codes.get(name) == OpCode.RUNNING for codes in shown for _, name in TROUBLES.values())


@pytest.fixture(scope="module")
def trouble(site):
    """Three things at a time: an agent is killed, another's device is away, the recorder is stopped."""
    site.agents["fake-1"].kill()
    site.device.unlink()
    wait_for(lambda: site.has_run_for(LONG, "aggregator_record"), PATIENCE)
    recorder = site.agents["aggregator"].client
    recorder.record.stop()
    assert recorder.record.wait(timeout=20).session["success"]
    return site


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("word", TROUBLES)
def test_it_shows_on_the_operation_monitor(trouble, word, database):
    _, operation = TROUBLES[word]
    code = OpCode[promised(word).shows.upper()]
    wait_for(lambda: trouble.monitor(database).get(operation) == code, PATIENCE)


@pytest.mark.parametrize("word", TROUBLES)
def test_the_watcher_raises_an_alarm_and_tells(trouble, word):
    subject, _ = TROUBLES[word]
    rule = promised(word).watcher.rule
    wait_for(lambda: trouble.alarms().get((rule, subject)) == "firing", PATIENCE)
    trouble.hook.wait_for(told("firing", rule, subject), PATIENCE)
    wait_for(lambda: ("firing", rule, subject) in published(trouble), PATIENCE)


@pytest.mark.parametrize("word", TROUBLES)
def test_grafana_raises_an_alert_on_what_is_in_influxdb(trouble, word):
    _, operation = TROUBLES[word]
    wait_for(lambda: operation in trouble.alerting.fired[promised(word).influxdb.rule], PATIENCE)


@pytest.mark.parametrize("word", TROUBLES)
def test_prometheus_raises_an_alert(trouble, word):
    subject, _ = TROUBLES[word]
    wait_for(lambda: subject in subjects(trouble.prometheus_fires(promised(word).prometheus.rule)), PATIENCE)


def subjects(alerts):
    """What alerts of Prometheus are about, as the watcher calls it."""
    return {".".join(one[label] for label in ("agent", "operation") if label in one) for one in alerts}


def told(state, rule, subject):
    def tells(letter):
        return any((one["state"], one["rule"], one["subject"]) == (state, rule, subject) for one in letter["alarms"])

    return tells


def published(site):
    return {(row["state"], row["rule"], row["subject"]) for row in site.history_of_alarms()}


@pytest.fixture(scope="module")
def mended(trouble):
    """All three are well again."""
    trouble.start("fake-1")
    trouble.device.touch()
    assert trouble.agents["aggregator"].client.record.start()[0] == OK
    return trouble


@pytest.mark.parametrize("word", TROUBLES)
def test_what_is_well_again_is_not_raised_any_more(mended, word):
    subject, operation = TROUBLES[word]
    promise = promised(word)
    for database in DATABASES:
        wait_for(lambda database=database: mended.monitor(database).get(operation) == OpCode.RUNNING, PATIENCE)
    mended.hook.wait_for(told("resolved", promise.watcher.rule, subject), PATIENCE)
    wait_for(lambda: (promise.watcher.rule, subject) not in mended.alarms(), PATIENCE)
    wait_for(lambda: ("ok", promise.watcher.rule, subject) in published(mended), PATIENCE)
    wait_for(lambda: operation not in mended.alerting.firing[promise.influxdb.rule], PATIENCE)
    wait_for(lambda: subject not in subjects(mended.prometheus_fires(promise.prometheus.rule)), PATIENCE)


@pytest.fixture(scope="module")
def cut_off(mended):
    """The router is away."""
    mended.router.kill()
    return mended, time.time() + 1  # what was under way has arrived


def test_without_a_router_all_bars_have_a_gap_and_people_are_told(cut_off):
    site, since = cut_off
    promise = promised("router")
    site.hook.wait_for(told("firing", promise.watcher.rule, "router"), PATIENCE)
    wait_for(lambda: "silence" in site.alerting.fired[promise.influxdb.rule], PATIENCE)
    wait_for(lambda: site.prometheus_fires(promise.prometheus.rule), PATIENCE)
    assert promise.shows == "a gap"
    assert site.monitor("influxdb", since) == {}
    wait_for(lambda: not site.monitor("prometheus", time.time() - 1), PATIENCE)
    assert list(site.panel("prometheus", "recording", "Router", since).values()) == [0]


@pytest.fixture(scope="module")
def joined(cut_off):
    """The router is back."""
    cut_off[0].router.start()
    return cut_off[0], time.time()


def test_a_router_that_is_back_ends_it(joined):
    site, back = joined
    promise = promised("router")
    wait_for(lambda: all_is_well(site, back), PATIENCE)
    site.hook.wait_for(told("resolved", promise.watcher.rule, "router"), PATIENCE)
    wait_for(lambda: not site.alerting.firing[promise.influxdb.rule], PATIENCE)
    wait_for(lambda: not site.prometheus_says('ALERTS{alertstate="firing"}'), PATIENCE)
    assert site.alarms() == {}


def test_what_the_watcher_said_without_a_router_is_recorded(joined):
    """InfluxDB may lack it: its publisher hears what is published after it has come back itself."""
    wait_for(lambda: recorded_states(joined[0], promised("router").watcher.rule)[-1:] == ["ok"], PATIENCE)
    assert recorded_states(joined[0], promised("router").watcher.rule) == ["pending", "firing", "ok"]


def recorded_states(site, rule):
    """The states that a rule's alarms have gone through, by what is recorded; the recorder rests for a moment."""
    recorder, folder = site.agents["aggregator"].client, site.site.directory / "hk"
    recorder.record.stop()
    assert recorder.record.wait(timeout=20).session["success"]
    _, rules = load(folder, "watcher.rule")["observatory.watcher.feeds.alarms.rule"]
    _, states = load(folder, "watcher.state")["observatory.watcher.feeds.alarms.state"]
    assert recorder.record.start()[0] == OK
    return [str(state) for name, state in zip(rules, states, strict=True) if name == rule]
