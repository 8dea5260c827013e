"""Grafana's files are what the description makes, whole, and refer to what there is."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dashboards.boards import BOARDS
from dashboards.description import Backend
from dashboards.files import FOLDER, HOME, made_files, write
from dashboards.making import dashboard_of, encoded
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from ocs.base import OpCode
from tests.harness.grafana import fill, panels, questions, read_dashboards

ROOT = Path(__file__).resolve().parents[3]
DASHBOARDS = read_dashboards(FOLDER / "dashboards")
GRAFANAS_OWN = {"__interval": ["10s"], "__rate_interval": ["1m"], "__range": ["1h"], "timeFilter": ["time > 0"]}

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard["uid"])


def test_what_is_checked_in_is_what_is_made():
    made = made_files()
    kept = {str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.rglob("*.*") if path.is_file()}
    assert {name for name in made if kept.get(name) != made[name]} == set(), "run make dashboards"
    assert set(kept) == set(made), "a file that nothing makes"


def test_files_are_the_same_whenever_they_are_made():
    """Also in another process, where Python sorts sets in another way."""
    script = "from dashboards.files import made_files; print(made_files())"
    run = [sys.executable, "-c", script]
    printed = {
        subprocess.run(run, cwd=FOLDER.parent, env=env, capture_output=True, text=True, check=True, timeout=60).stdout
        for env in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    }
    assert len(printed) == 1


def test_writing_again_writes_nothing(tmp_path):
    assert len(write(tmp_path)) == len(made_files())
    (tmp_path / "datasources" / "site.yaml").write_text("a site's own")
    assert write(tmp_path) == []
    assert (tmp_path / "datasources" / "site.yaml").exists()


def test_the_home_dashboard_is_made():
    assert HOME in made_files()


@pytest.mark.parametrize("backend", Backend)
def test_every_dashboard_is_made_for_each_database_that_can_answer_it(backend):
    made = {Path(name).stem for name in made_files() if name.startswith(f"dashboards/{backend}/")}
    assert made == {board.name for board in BOARDS if board.sections_for(backend)}
    assert {"operations", "feeds", "recording", "alarms"} <= made


def test_titles_and_addresses_are_used_once():
    uids = [dashboard["uid"] for dashboard in DASHBOARDS]
    assert len(uids) == len(set(uids))
    assert [uid for uid in uids if not re.fullmatch(r"[a-z-]{8,40}", uid)] == []
    places = [(dashboard["tags"][1], dashboard["title"]) for dashboard in DASHBOARDS]
    assert len(places) == len(set(places))


@each_dashboard
def test_what_the_models_of_the_foundation_sdk_read_is_what_was_written(dashboard):
    register_default_plugins()
    read = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    for variable in read.get("templating", {}).get("list", ()):
        for name in ("auto", "auto_count", "auto_min"):  # of intervals alone; the model adds them to every variable
            del variable[name]
    assert read == dashboard


@each_dashboard
def test_panels_lie_side_by_side_within_the_grid(dashboard):
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (column, row)
            for column in range(place["x"], place["x"] + place["w"])
            for row in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


@each_dashboard
def test_every_variable_of_a_question_is_one_of_the_dashboard(dashboard):
    values = {**GRAFANAS_OWN, **{item["name"]: ["x"] for item in dashboard.get("templating", {}).get("list", ())}}
    assert [fill(asked.text, values, asked.backend) for asked in questions(dashboard)] != []


@each_dashboard
def test_every_panel_says_how_to_read_it_and_asks_the_data_source_that_is_provided(dashboard):
    sources = yaml.safe_load((FOLDER / "datasources" / "ocs.yaml").read_text())["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    for panel in panels(dashboard):
        assert len(panel["description"]) > 20, panel["title"]
        assert (panel["datasource"]["type"], panel["datasource"]["uid"]) in known


def test_the_states_of_an_operation_have_all_a_word_and_a_colour_of_their_own():
    board = next(board for board in BOARDS if board.name == "operations")
    for backend in Backend:
        made = json.loads(encoded(dashboard_of(board, backend)))
        timeline = next(panel for panel in panels(made) if panel["title"] == "Operations")
        assert timeline["type"] == "state-timeline"
        meanings = timeline["fieldConfig"]["defaults"]["mappings"][0]["options"]
        assert {int(value) for value in meanings} == {int(code) for code in OpCode}
        assert len({entry["text"] for entry in meanings.values()}) == len(OpCode)
        assert len({entry["color"] for entry in meanings.values()}) == len(OpCode)
