"""The dashboards are of the types that Grafana publishes (npm's @grafana/schema): no setting misspelt or misplaced."""

import json
import os
from functools import cache
from pathlib import Path

import pytest
from dashboards.description import Kind
from dashboards.files import FOLDER
from jsonschema import Draft7Validator

from tests.harness.grafana import panels, read_dashboards

ROOT = Path(__file__).resolve().parents[3]
DASHBOARDS = read_dashboards(FOLDER / "dashboards")
PANELS = [panel for dashboard in DASHBOARDS for panel in panels(dashboard)]
KINDS = {"state-timeline", "stat", "table", "timeseries"}


def schema_folder():
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ocs-tests" / "grafana"
    return Path(os.environ.get("OCS_TEST_GRAFANA") or default)


@cache
def validator(name):
    folder = schema_folder()
    installed = folder / "installed.json"
    lock = ROOT / ".ci" / "grafana" / "package-lock.json"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        pytest.fail(f"no JSON schemas of Grafana's types, or old ones, in {folder}: .ci/setup grafana makes them")
    return Draft7Validator(json.loads((folder / "schemas" / f"{name}.json").read_text()))


def mistakes(name, content):
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(content)]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard["uid"])
def test_a_dashboard_is_of_grafanas_type(dashboard):
    assert mistakes("dashboard", dashboard) == []


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel['datasource']['type']}-{panel['title']}")
def test_a_panel_is_of_the_type_of_its_plugin(panel):
    assert mistakes("panel", panel) == []
    assert mistakes(f"{panel['type']}.options", panel["options"]) == []
    if panel["type"] != "stat":
        assert mistakes(f"{panel['type']}.custom", panel["fieldConfig"]["defaults"].get("custom", {})) == []


def test_there_is_a_schema_for_every_kind_of_panel():
    assert {panel["type"] for panel in PANELS} == KINDS
    assert len(KINDS) == len(Kind)


@pytest.mark.parametrize("place", ["options", "fieldConfig"])
def test_a_misspelt_setting_would_be_noticed(place):
    panel = next(panel for panel in PANELS if panel["type"] == "state-timeline")
    name = {"options": "state-timeline.options", "fieldConfig": "state-timeline.custom"}[place]
    content = panel["options"] if place == "options" else panel["fieldConfig"]["defaults"]["custom"]
    assert mistakes(name, {**content, "merge_values": True}) != []
