"""Alert rules in Grafana's form say what those of Prometheus say, and refer to nothing that is not there."""

import json
import re

import pytest
import yaml
from dashboards.alerts import FOLDER as ALERT_FOLDER
from dashboards.alerts import from_influxdb, from_prometheus
from dashboards.files import FOLDER, RULES
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.alerting import Rule

from ocs.agents.watcher.rules import SEVERITIES
from tests.harness.grafana import read_rules

KEPT = [rule for path in sorted(FOLDER.glob("alerting/*/ocs.yaml")) for rule in read_rules(path)]
PROMETHEUS = """
groups:
  - name: ocs
    rules:
      - record: ocs:ignored
        expr: sum(ocs_agents)
      - alert: OcsDiskLow
        expr: |
          ocs_recorder_disk_free_bytes < 10e9
        for: 2m
        labels: {severity: warning}
        annotations:
          summary: "{{ $labels.agent }} has {{ $value | humanize1024 }}B left"
"""

each_rule = pytest.mark.parametrize("rule", KEPT, ids=lambda rule: rule["uid"])


@pytest.fixture
def adopted(tmp_path):
    path = tmp_path / "rules.yml"
    path.write_text(PROMETHEUS)
    made = json.loads(json.dumps(from_prometheus(path), cls=JSONEncoder))
    (group,) = made["groups"]
    (rule,) = group["rules"]
    return rule


def test_a_rule_of_prometheus_fires_in_grafana_for_each_series_that_there_is(adopted):
    query, condition = adopted["data"]
    assert (query["refId"], query["model"]["expr"]) == ("query", "ocs_recorder_disk_free_bytes < 10e9")
    assert query["model"]["instant"] is True
    assert condition["model"]["expression"] == "is_number($query) || is_nan($query) || is_inf($query)"
    assert adopted["noDataState"] == "OK"


def test_its_words_and_times_stay(adopted):
    assert (adopted["title"], adopted["uid"], adopted["for"]) == ("Disk low", "ocs-disk-low", "2m")
    assert adopted["labels"]["severity"] == "warning"
    assert adopted["annotations"] == {
        "summary": "{{ $labels.agent }} has {{ $values.query.Value | humanize1024 }}B left"
    }


def test_every_rule_of_prometheus_is_one_of_grafana():
    alerts = [
        rule["alert"]
        for path in RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    made = [rule for group in from_prometheus(*RULES.glob("*.yml"))["groups"] for rule in group["rules"]]
    assert len(made) == len(alerts)


def test_rules_are_known_by_addresses_of_their_own():
    uids = [rule["uid"] for rule in KEPT]
    assert len(uids) == len(set(uids))
    assert [uid for uid in uids if not re.fullmatch(r"[a-z0-9-]{1,40}", uid)] == []
    titles = [rule["title"] for rule in KEPT]
    assert len(titles) == len(set(titles))


@each_rule
def test_the_models_of_the_foundation_sdk_read_what_was_written(rule):
    register_default_plugins()
    read = json.loads(json.dumps(Rule.from_json(rule), cls=JSONEncoder))
    assert {name: read[name] for name in rule} == rule


@each_rule
def test_a_rule_refers_to_what_it_asks_for(rule):
    names = [query["refId"] for query in rule["data"]]
    assert rule["condition"] == names[-1]
    for place, query in enumerate(rule["data"]):
        used = set(re.findall(r"\$(\w+)", query["model"].get("expression", "")))
        assert used <= set(names[:place]), query
        assert query["model"]["refId"] == query["refId"]


@each_rule
def test_a_rule_says_how_bad_it_is_and_what_has_happened(rule):
    assert rule["labels"]["severity"] in SEVERITIES
    assert len(rule["annotations"]["summary"]) > 20


def test_all_rules_are_in_one_folder():
    assert {group["folder"] for group in from_influxdb()["groups"]} == {ALERT_FOLDER}
