"""The fake data agent's operations, without a router."""

import threading
from unittest.mock import MagicMock

import pytest
from twisted.internet.task import Clock

from ocs.agents.fake_data import agent as module
from ocs.agents.fake_data.agent import FakeDataAgent, add_agent_args
from ocs.ocs_agent import OCSAgent, OpSession

WALL = 1_790_000_000.0


def new_session(name):
    return OpSession(1, name, app=MagicMock())


class Harness:
    """A fake data agent on a clock that is stepped, and what it published."""

    def __init__(self, **kwargs):
        self.clock = Clock()
        self.clock.advance(1000)
        self.agent = MagicMock()
        self.jump = 0.0
        self.fake = FakeDataAgent(
            self.agent,
            reactor=self.clock,
            wall=lambda: WALL + self.clock.seconds() + self.jump,
            steady=self.clock.seconds,
            **kwargs,
        )

    @property
    def batches(self):
        return [call.args[1] for call in self.agent.publish_to_feed.call_args_list]

    @property
    def stamps(self):
        return [stamp for batch in self.batches for stamp in batch["timestamps"]]


class Steps:
    """Stands in for the wait between two rounds: does what the test wants to happen meanwhile."""

    def __init__(self, harness, session, actions):
        self._harness, self._session, self._actions = harness, session, list(actions)

    def __call__(self, seconds):
        self._harness.clock.advance(seconds)
        if self._actions:
            self._actions.pop(0)()
        else:
            self._session.set_status("stopping")


def run_acq(harness, monkeypatch, actions=(), params=None):
    session = new_session("acq")
    monkeypatch.setattr(harness.fake, "_wait_for_stop", Steps(harness, session, actions))
    return session, harness.fake.acq(session, params)


def nothing():
    """Let a round go by."""


def test_registers_its_feed():
    harness = Harness(frame_length=12)
    harness.agent.register_feed.assert_called_once_with(
        "false_temperatures", record=True, agg_params={"frame_length": 12}, buffer_time=1.0
    )


def test_acq_in_test_mode_on_an_agent_made_of_mocks():
    agent = OCSAgent(MagicMock(), MagicMock(log_dir=None, access_policy=None), address="test.address")
    fake = FakeDataAgent(agent)
    session = new_session("acq")
    success, _ = fake.acq(session, {"test_mode": True, "degradation_period": None})
    assert success
    assert list(session.data["fields"]) == ["channel_00", "channel_01"]


def test_acq_misses_no_sample_and_takes_none_twice(monkeypatch):
    harness = Harness(sample_rate=9.5)
    _, result = run_acq(harness, monkeypatch, [nothing] * 39)
    assert harness.stamps == [WALL + 1000 + i / 9.5 for i in range(96)]
    assert result == (True, "Acquisition has ended after 96 samples.")


def test_acq_shows_the_last_sample(monkeypatch):
    harness = Harness(num_channels=3)
    session, _ = run_acq(harness, monkeypatch, [nothing])
    last = harness.batches[-1]
    assert session.data == {
        "fields": {name: values[-1] for name, values in last["data"].items()},
        "timestamp": last["timestamps"][-1],
    }


def test_acq_publishes_what_has_piled_up_in_several_messages(monkeypatch):
    harness = Harness(num_channels=10, sample_rate=1000.0)
    run_acq(harness, monkeypatch, [lambda: harness.clock.advance(10)])
    assert len(harness.stamps) > 10_000
    assert max(len(batch["timestamps"]) for batch in harness.batches) == module.VALUES_AT_ONCE // 10


def test_acq_begins_anew_when_the_clock_is_set(monkeypatch):
    harness = Harness()
    session, _ = run_acq(harness, monkeypatch, [nothing, lambda: setattr(harness, "jump", 3600.0), nothing, nothing])
    assert harness.stamps == sorted(harness.stamps)
    assert harness.stamps[-1] == pytest.approx(WALL + 4600 + 1.25, abs=0.3)
    assert any("jumped by +3600.0 s" in text for _, text in session.messages)


def test_acq_is_degraded_every_other_period(monkeypatch):
    harness, seen = Harness(), []
    session = new_session("acq")
    rounds = [lambda: seen.append(session.degraded)] * 12
    monkeypatch.setattr(harness.fake, "_wait_for_stop", Steps(harness, session, rounds))
    harness.fake.acq(session, {"degradation_period": 1.0})
    assert seen == [False] * 4 + [True] * 4 + [False] * 4


def test_stop_ends_acq_without_waiting_for_the_round(monkeypatch):
    monkeypatch.setattr(module, "ROUND", 60.0)
    fake, session, results = FakeDataAgent(MagicMock()), new_session("acq"), []
    thread = threading.Thread(target=lambda: results.append(fake.acq(session, None)))
    thread.start()
    session.set_status("stopping")
    fake.stop_acq(session, None)
    thread.join(5)
    assert results[0][0] is True


def test_a_stop_that_came_too_late_neither_ends_the_next_acq_nor_makes_it_spin(monkeypatch):
    harness = Harness()
    harness.fake.stop_acq(new_session("acq"), None)
    harness.fake._wait_for_stop(60.0)  # returns at once, and has used the request up
    assert not harness.fake._wake.is_set()
    _, result = run_acq(harness, monkeypatch, [nothing] * 3)
    assert len(harness.batches) == 5
    assert result[0] is True


def test_count_counts_seconds():
    harness, session = Harness(), new_session("count")
    result = harness.fake.count(session, None)
    for _ in range(3):
        harness.clock.advance(1)
    assert session.data == {"counter": 3, "last_update": WALL + 1003}
    harness.fake.stop_count(session, None)
    assert result.result == (True, "Counted to 3.")
    assert harness.clock.getDelayedCalls() == []


@pytest.mark.parametrize("on", [True, False])
def test_set_heartbeat(on):
    harness = Harness()
    assert harness.fake.set_heartbeat(new_session("set_heartbeat"), {"heartbeat": on})[0] is True
    assert harness.agent.heartbeat_on is on


@pytest.mark.parametrize("succeed", [True, False])
def test_delay_task_ends_after_the_delay_as_asked(succeed):
    harness, session = Harness(), new_session("delay_task")
    result = harness.fake.delay_task(session, {"delay": 1.2, "succeed": succeed})
    for _ in range(5):
        harness.clock.advance(0.25)
    assert result.result == (succeed, "Waited for 1.2 s.")


def test_delay_task_reports_its_progress():
    harness, session = Harness(), new_session("delay_task")
    harness.fake.delay_task(session, {"delay": 5.0, "succeed": True})
    harness.clock.advance(0.5)
    harness.clock.advance(0.5)
    assert session.data == {"requested_delay": 5.0, "delay_so_far": 1.0}


def test_abort_ends_delay_task_at_once():
    harness, session = Harness(), new_session("delay_task")
    result = harness.fake.delay_task(session, {"delay": 3600.0, "succeed": True})
    session.set_status("stopping")
    harness.fake.abort_delay_task(session, None)
    assert result.result == (False, "Aborted after 0.0 s.")
    assert harness.clock.getDelayedCalls() == []


def test_options_and_defaults():
    assert vars(add_agent_args().parse_args([])) == {
        "mode": "idle",
        "num_channels": 2,
        "sample_rate": 9.5,
        "frame_length": 60,
    }


@pytest.mark.parametrize("words", [["--num-channels", "0"], ["--sample-rate", "nan"], ["--frame-length", "-1"]])
def test_an_option_out_of_range_is_named(words, capsys):
    with pytest.raises(SystemExit):
        add_agent_args().parse_args(words)
    assert words[0] in capsys.readouterr().err
