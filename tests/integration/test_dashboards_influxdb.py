"""Every question of the dashboards and rules for InfluxDB is answered by a real one, with a real site behind it."""

import time

import pytest
from dashboards.files import FOLDER

from ocs.base import OpCode
from tests.harness.grafana import read_dashboards, read_rules, rule_questions
from tests.harness.grafana_asking import Influx, answers, firing, panel_shows, unanswered
from tests.harness.waiting import wait_for

DASHBOARDS = read_dashboards(FOLDER / "dashboards" / "influxdb")
RULES = {
    rule["uid"].removeprefix("ocs-influxdb-"): rule
    for rule in read_rules(FOLDER / "alerting" / "influxdb" / "ocs.yaml")
}

STATES = """SELECT last(/./) FROM /registry/ WHERE "feed" = 'agent_operations'"""
PUBLISHED = """SELECT count(/./) FROM /fake-1/ WHERE "feed" = 'false_temperatures'"""

ALARMS = """SELECT count(state) FROM /watcher/ WHERE "feed" = 'alarms'"""
WATCHED = "rules: [{name: a task failed, kind: operation_failed}]"


@pytest.fixture
def agents():
    """The running agents of `source`, by name."""
    return {}


@pytest.fixture
def source(influxd, site, run_agent, tmp_path, agents):
    """A site whose feeds get into a database; when this returns, they have."""
    database = tmp_path.name  # of this test alone
    site.add_instance("RegistryAgent", "registry", ["--wait-time", "1"])
    site.add_instance(
        "AggregatorAgent", "aggregator", ["--initial-state", "record", "--data-dir", str(tmp_path / "hk")]
    )
    site.add_instance("FakeDataAgent", "fake-1", ["--mode", "acq"])
    site.add_instance(
        "InfluxDBAgent", "influxdb", ["--host", influxd.host, "--port", influxd.port, "--database", database]
    )
    site.path.with_name("watcher-rules.yaml").write_text(WATCHED)
    site.add_instance("WatcherAgent", "watcher", [])
    for name in ("registry", "influxdb", "aggregator", "watcher"):
        agents[name] = run_agent(name)
    agents["fake-1"] = run_agent("fake-1")
    assert not agents["fake-1"].client.delay_task(delay=0.1, succeed=False).session["success"]
    made = Influx(influxd, database)
    wait_for(lambda: database in influxd.databases(), 30)
    wait_for(lambda: len(influxd.query(STATES, database)), 30)
    wait_for(lambda: len(influxd.query(PUBLISHED, database)), 30)
    wait_for(lambda: len(influxd.query(ALARMS, database)), 30)
    wait_for(lambda: any("aggregator_record" in name for name in made.listed("SHOW FIELD KEYS FROM /registry/")), 30)
    return made


def test_every_question_is_answered(source):
    assert [line for dashboard in DASHBOARDS for line in unanswered(dashboard, source)] == []
    asked = [asked for rule in RULES.values() for asked in rule_questions(rule)]
    # The site is young: what a rule asks of minutes ago is asked of now.
    assert [one.place for one in asked if not answers(one._replace(begin=600, end=0), source)] == []


def test_what_happens_shows_on_the_operation_monitor(source, agents):
    monitor = next(dashboard for dashboard in DASHBOARDS if dashboard["uid"] == "ocs-operations-influxdb")

    def becomes(operation, code):
        name = f"observatory.registry last_observatory_{operation}"
        wait_for(lambda: panel_shows(monitor, "Operations", source).get((("name", name),)) == code, 30)

    becomes("fake_1_acq", OpCode.RUNNING)
    becomes("fake_1_delay_task", OpCode.FAILED)
    agents["aggregator"].client.record.stop()
    becomes("aggregator_record", OpCode.SUCCEEDED)
    fake = agents["fake-1"].client
    fake.acq.stop()
    fake.acq.wait(timeout=20)
    fake.acq.start(degradation_period=3)
    becomes("fake_1_acq", OpCode.DEGRADED)
    agents["fake-1"].kill()
    becomes("fake_1_acq", OpCode.EXPIRED)


def write_history(influxd, database, **states):
    """Write what a registry says each half minute: of each operation the codes, the newest last."""
    now = time.time() - 5
    lines = [
        f"observatory.registry,feed=agent_operations {operation}={code}i {int((now - 30 * place) * 1e9)}"
        for operation, codes in states.items()
        for place, code in enumerate(reversed(codes))
    ]
    assert influxd.write(database, *lines)[0] == 204


@pytest.fixture
def history(influxd):
    """Operations over the last quarter of an hour."""
    influxd.query('CREATE DATABASE "history"')
    write_history(
        influxd,
        "history",
        steady=[3] * 30,
        stopped=[3] * 27 + [5] * 3,
        crashed=[3] * 27 + [6] * 3,
        task=[1] * 20 + [3] * 6 + [5] * 4,
        degraded=[3] * 27 + [8] * 3,
        silent=[3] * 27 + [7] * 3,
        never=[1] * 30,
    )
    yield Influx(influxd, "history")
    influxd.query('DROP DATABASE "history"')


@pytest.mark.parametrize(
    ("rule", "operations"),
    [
        ("agent-expired", {"silent"}),
        ("operation-failed", {"crashed"}),
        ("operation-degraded", {"degraded"}),
        ("process-stopped", {"stopped", "crashed"}),
    ],
)
def test_a_rule_fires_for_what_it_says_and_for_nothing_else(history, rule, operations):
    assert firing(RULES[rule], history) == {f"observatory.registry last_{name}" for name in operations}


def test_no_data_fires_on_silence_whatever_the_registry_says(history, influxd):
    rule = RULES["no-data"]
    assert rule["noDataState"] == "Alerting"
    assert firing(rule, history) is None
    influxd.write("history", f"observatory.fake-1,feed=temperatures channel=1.5 {time.time_ns()}")
    assert firing(rule, history) == set()
