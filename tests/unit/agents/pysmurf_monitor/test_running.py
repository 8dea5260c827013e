"""A run is watched, started anew, and tells of trouble."""

import threading

import pytest

from ocs.agents.pysmurf_monitor import running
from ocs.agents.pysmurf_monitor.receiver_status import ReceiverStatus
from ocs.agents.pysmurf_monitor.report import Counters, Database, Lost, Refusals, Snapshot
from ocs.agents.pysmurf_monitor.running import Run, Teller
from ocs.errors import StateTroubleError
from ocs.op_session import OpSession


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def lines():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def teller(lines, clock):
    return Teller(lines.append, clock)


def test_trouble_is_told_when_it_comes_and_when_all_is_over(teller, lines):
    for wrong in ({}, {"a": "A"}, {"a": "A, still"}, {"a": "A", "b": "B"}, {"b": "B"}, {}, {}):
        teller.report(wrong)
    assert lines == ["A", "B", "all is well again"]


def test_trouble_that_comes_and_goes_is_told_once_a_minute(teller, lines, clock):
    for _ in range(600):
        teller.report({"a": "A"})
        teller.report({})
        clock.now += 1
    assert 2 * 9 <= len(lines) <= 2 * 11


class FakePipeline:
    """Works until it is told to stop, or fails."""

    processed = 0
    idle = True
    halted = False

    def __init__(self, crash=""):
        self.crash = crash
        self.stopped = False

    def start(self):
        """Nothing to start."""

    def stop(self):
        self.stopped = True
        return True

    def snapshot(self):
        return Snapshot(Database("/db"))


class Bench:
    def __init__(self, *pipelines):
        self.session = OpSession(0, "run", status="running")
        self.made = []
        self.pipelines = list(pipelines)
        self.turns = 0
        self.failures = []
        self.run = self.new_run()

    def new_run(self, test_mode=False):
        return Run(
            self.session,
            self.make,
            self.take_extras,
            counters=Counters(),
            refusals=Refusals(lambda _line: None),
            receiver=lambda: ReceiverStatus(running=True),
            db_path="/db",
            journal_bound=1 << 30,
            lost=Lost(),
            log_failure=self.failures.append,
            test_mode=test_mode,
        )

    def make(self):
        made = self.pipelines.pop(0)
        self.made.append(made)
        if isinstance(made, Exception):
            raise made
        return made

    def take_extras(self, pipeline, timeout):
        self.turns += 1
        if self.turns == 3:
            self.run.stop()

    @property
    def text(self):
        return " ".join(text for _, text in self.session.messages)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(running, "FIRST_RESTART", 0.01)


def test_it_works_until_it_is_told_to_stop(quick):
    bench = Bench(FakePipeline())
    assert bench.run.go() == (True, "Entered 0 files.")
    assert bench.made[0].stopped
    assert bench.session.data["database"]["state"] == "ok"
    assert not bench.session.degraded


def test_a_pipeline_that_fails_is_told_of_and_started_anew(quick):
    bench = Bench(FakePipeline("Traceback:\n  somewhere\nError: no such luck\n"), FakePipeline())
    assert bench.run.go()[0]
    assert "somewhere" in bench.failures[0]
    assert "somewhere" not in bench.text
    assert len(bench.made) == 2
    assert "no such luck" in bench.text


def test_a_state_file_that_cannot_be_opened_is_waited_for(quick):
    bench = Bench(StateTroubleError("full", "the disk of state.sqlite is full"), FakePipeline())
    assert bench.run.go()[0]
    assert "the disk of state.sqlite is full" in bench.text
    assert "all is well again" in bench.text


def test_in_test_mode_it_ends_when_something_was_processed(quick):
    pipeline = FakePipeline()
    bench = Bench(pipeline)
    run = bench.new_run(test_mode=True)
    bench.take_extras = None
    run._take_extras = lambda made, timeout: setattr(made, "processed", 1)
    thread = threading.Thread(target=run.go)
    thread.start()
    thread.join(10)
    assert pipeline.stopped
