"""What a sequence component has loaded, and the runs that are made of it."""

import sys
import threading

import pytest

from ocs.agents.sequence_component.folders import ScriptFolders
from ocs.agents.sequence_component.stage import Stage
from ocs.agents.sequence_component.states import Phase
from ocs.components.names import ComponentId, Prefix
from ocs.errors import SequenceError, SequenceScriptError

GOOD = "from ocs.sequence import step\n@step('one')\ndef one(run): ...\n@step('two')\ndef two(run): ...\n"


class Router:
    """Knows who is there."""

    def __init__(self):
        self.there = {}

    def announce(self, component, metadata):
        if component in self.there:
            raise SequenceError(f"{component.prefix} is taken")
        self.there[component] = metadata

    def withdraw(self, component):
        self.there.pop(component, None)


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def router():
    return Router()


@pytest.fixture
def stage(tmp_path, router):
    (tmp_path / "dark.py").write_text(GOOD)
    folders = ScriptFolders([tmp_path])
    return Stage(folders, Prefix("ESW", "primary"), announce=router.announce, withdraw=router.withdraw)


def begin(stage, first=None):
    return stage.begin_run(first, lambda loaded: lambda state, away: None, 0.0)[1]


def end(conductor, phase=Phase.SUCCEEDED):
    conductor.close()
    conductor.finish(phase)


def sequencer(name="dark", subsystem="ESW"):
    return ComponentId(Prefix(subsystem, name), "Sequencer")


def test_what_is_loaded_is_a_sequencer_until_it_is_unloaded(stage, router):
    loaded = stage.load("dark")
    assert loaded.data["steps"] == [{"title": "one", "weight": 1.0}, {"title": "two", "weight": 1.0}]
    assert router.there[sequencer()]["sequenceComponent"] == "ESW.primary"
    assert stage.unload().sequencer == sequencer()
    assert (router.there, stage.loaded) == ({}, None)


def test_a_sequencer_may_be_of_another_subsystem_and_have_another_script(stage, router):
    stage.load("night", script="dark", subsystem="tcs")
    assert list(router.there) == [sequencer("night", "TCS")]


def test_nothing_to_unload_is_no_mistake(stage):
    assert stage.unload() is None


def test_one_script_at_a_time(stage):
    stage.load("dark")
    with pytest.raises(SequenceError, match="unload_script first"):
        stage.load("dark")


@pytest.mark.parametrize("mode", ["", "a.b", " dark"])
def test_what_is_no_name_of_a_mode_is_refused(stage, mode):
    with pytest.raises(SequenceError):
        stage.load(mode)


def test_a_sequencer_that_runs_elsewhere_is_not_loaded(stage, router):
    router.there[sequencer()] = {}
    before = set(sys.modules)
    with pytest.raises(SequenceError, match="taken"):
        stage.load("dark")
    assert stage.loaded is None
    assert set(sys.modules) == before


def test_a_script_with_a_mistake_leaves_the_stage_empty(stage, router, tmp_path):
    (tmp_path / "dark.py").write_text("1 / 0")
    with pytest.raises(SequenceScriptError):
        stage.load("dark")
    assert (stage.loaded, router.there) == (None, {})


def test_a_restart_reads_the_file_anew(stage, router, tmp_path):
    stage.load("dark")
    (tmp_path / "dark.py").write_text(GOOD.replace("one", "first"))
    assert stage.restart().script.steps[0].title == "first"
    assert list(router.there) == [sequencer()]


def test_a_restart_keeps_the_old_script_where_the_new_one_has_a_mistake(stage, router, tmp_path):
    stage.load("dark")
    (tmp_path / "dark.py").write_text("1 / 0")
    with pytest.raises(SequenceScriptError):
        stage.restart()
    assert stage.loaded.script.steps[0].title == "one"
    assert list(router.there) == [sequencer()]


def test_a_run_needs_a_script(stage):
    with pytest.raises(SequenceError, match="load_script first"):
        begin(stage)


def test_a_run_can_begin_at_a_step(stage):
    stage.load("dark")
    assert [str(step.phase) for step in begin(stage, "two").state.steps] == ["skipped", "waiting"]


def test_while_a_run_goes_on_the_stage_is_not_changed(stage):
    stage.load("dark")
    conductor = begin(stage)
    for change in (stage.unload, stage.restart, lambda: begin(stage)):
        with pytest.raises(SequenceError, match="is running a sequence"):
            change()
    end(conductor)
    assert stage.unload()


def test_by_force_the_run_is_aborted_first(stage):
    stage.load("dark")
    conductor = begin(stage)

    def script():
        conductor.wait_for(lambda state: state.wish == "abort", 10)
        end(conductor, Phase.ABORTED)

    thread = threading.Thread(target=script)
    thread.start()
    stage.unload(force=True)
    thread.join(10)
    assert stage.loaded is None


def test_without_a_run_there_is_none_to_pause(stage):
    stage.load("dark")
    with pytest.raises(SequenceError, match="No sequence is running"):
        stage.running()
    end(begin(stage))
    with pytest.raises(SequenceError, match="No sequence is running"):
        stage.running()
