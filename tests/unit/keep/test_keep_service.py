"""The work of keeping: what recorders are answered, what goes to the disk when, and how it ends."""

import json
import threading

import msgpack
import pytest
from twisted.internet.defer import Deferred

from ocs.keep.service import KeepService
from ocs.wamp.lean_autobahn import ApplicationError
from ocs.wamp.transport import MESSAGE_LIMIT
from tests.harness.fakes import Log
from tests.harness.keeping import Clock, publish
from tests.harness.reactor import SteppedReactor

FOREVER = 1 << 60


class Agent:
    """A service with a stepped reactor, and a recorder that calls it."""

    def __init__(self, folder, run="100.0", **options):
        self.reactor, self.clock, self.log, self.linked = SteppedReactor(), Clock(), Log(), True
        self.run = run
        self.service = KeepService(
            run,
            reactor=self.reactor,
            log=self.log,
            folder=folder,
            linked=lambda: self.linked,
            clock=self.clock,
            wall=self.clock.wall,
            **options,
        )
        self.keep = self.service.keep

    def start(self):
        self.service.start()
        self.settle()
        return self

    @property
    def busy(self):
        return self.service._worker.waiting > 0

    def settle(self):
        """Let all happen that is due now."""
        self.reactor.pump()
        self.reactor.pump_until(lambda: not self.busy)

    def step(self, seconds=1.0):
        left = seconds
        while left > 0:
            self.clock.step(min(0.5, left))
            self.reactor.advance(min(0.5, left))
            self.settle()
            left -= 0.5

    def ask(self, recorder="r", **request):
        answer = self.service.serve({"recorder": recorder, "every": 1.0, **request})
        if isinstance(answer, Deferred):
            found = []
            answer.addBoth(found.append)
            self.reactor.pump_until(lambda: found)
            answer = found[0]
        return answer

    def check(self, recorder="r", **have):
        return self.ask(recorder, have={run.replace("_", "."): number for run, number in have.items()})

    def fetch(self, start=1, run=None, limit=FOREVER, since=0.0):
        return self.ask(run=run or self.run, since=since, limit=limit, **{"from": start})

    def numbers(self, **options):
        return [number for number, _, _ in self.fetch(**options)["messages"]]

    def end(self):
        ended = []
        self.service.finish().addCallback(ended.append)
        self.settle()
        return bool(ended)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def live(folder):
    lives = []

    def begin(run="100.0", **options):
        lives.append(Agent(options.pop("folder", folder), run, **options))
        return lives[-1].start()

    yield begin
    for agent in lives:
        agent.service._stop()


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_check_tells_what_is_kept(live):
    agent = live(folder=None)
    publish(agent.keep, 3)
    assert agent.check() == {"session_id": "100.0", "runs": {"100.0": [1, 4]}, "lost": []}
    assert agent.check(**{"100_0": 3})["runs"] == {"100.0": [3, 4]}


def test_a_fetch_gives_what_was_published(live):
    agent = live(folder=None)
    publish(agent.keep, 3)
    reply = agent.fetch(2)
    assert (reply["run"], reply["next"], "unknown" in reply) == ("100.0", 4, False)
    assert [(number, payload[-1]) for number, _, payload in reply["messages"]] == [(2, 2), (3, 3)]


def test_a_run_that_is_not_known_is_said_to_be(live):
    assert live().fetch(7, run="x") == {"run": "x", "messages": [], "next": 7, "unknown": True}


@pytest.mark.parametrize(("count", "size"), [(200, 40_000), (3, MESSAGE_LIMIT - 1024), (50_000, 60)])
def test_a_reply_is_one_that_a_router_takes(live, count, size):
    agent = live(folder=None)
    publish(agent.keep, count, size=size)
    reply = agent.fetch(agent.keep.range[0])
    assert reply["messages"]
    assert len(msgpack.packb([70, 2**53, {}, [reply]])) < MESSAGE_LIMIT


def test_also_the_answer_to_a_check_is(live, folder):
    for run in range(250):
        (folder / f"{run}.5").mkdir(parents=True)
        lost = [[n, n + 1, 1.0, 2.0, {f"feed_{x}": 1 for x in range(100)}] for n in range(1, 300, 3)]
        (folder / f"{run}.5" / "lost.json").write_text(json.dumps(lost))
    reply = live("1000.0").check()
    assert len(reply["runs"]) == 201
    assert "1000.0" in reply["runs"]
    assert len(msgpack.packb(reply)) < MESSAGE_LIMIT


def test_nonsense_is_refused(live):
    agent = live()
    with pytest.raises(ApplicationError) as refused:
        agent.service.serve({"recorder": "r", "every": 1.0, "have": 3})
    assert refused.value.error == "ocs.error.invalid_request"


# The disk


def test_nothing_is_written_where_nobody_was_met(live, folder):
    agent = live()
    publish(agent.keep, 5)
    agent.linked = False
    agent.step(10)
    assert agent.end()
    assert not folder.exists()


def test_while_the_recorder_calls_nothing_is_written_but_its_name(live, folder):
    agent = live()
    agent.check()
    for _ in range(10):
        publish(agent.keep, 3)
        agent.step()
        agent.check(**{"100_0": agent.keep.next})
    assert files(folder) == ["recorders.json"]


def test_when_it_is_away_all_is_on_the_disk_within_a_second(live, folder):
    agent = live()
    agent.check()
    agent.step(3.5)
    for _ in range(3):
        publish(agent.keep, 3)
        agent.step(1.0)
        assert agent.keep.saved == agent.keep.next
    second = live("200.0")
    assert second.check()["runs"] == {"200.0": [1, 1]}  # the first one lives still
    assert second.fetch(run="100.0")["unknown"]


def test_what_one_run_left_the_next_one_has(live, folder):
    first = live()
    first.check()
    publish(first.keep, 5)
    assert first.end()
    second = live("200.0")
    assert list(second.keep.recorders.known) == ["r"]
    assert second.check()["runs"] == {"100.0": [1, 6], "200.0": [1, 1]}
    assert second.numbers(run="100.0", start=3) == [3, 4, 5]
    second.check(**{"100_0": 6})
    second.step()
    assert second.check()["runs"] == {"200.0": [1, 1]}
    assert [name for name in files(folder) if "100.0" in name] == []


def test_what_is_on_the_disk_and_in_memory_is_fetched_as_one(live):
    agent = live()
    agent.keep._budget = 20_000
    agent.check()
    agent.linked = False
    for _ in range(10):
        publish(agent.keep, 10, size=500)
        agent.step()
    assert agent.keep.size <= 20_000
    start, found = 1, []
    while (reply := agent.fetch(start, limit=5000))["next"] > start:
        found += [number for number, _, _ in reply["messages"]]
        start = reply["next"]
    assert found == list(range(1, 101))


def test_a_caller_waits_until_the_disk_has_been_read(live, folder):
    first = live()
    first.check()
    publish(first.keep, 5)
    first.end()
    second = Agent(folder, "200.0")
    answers = []
    second.service.serve({"recorder": "r", "every": 1.0, "have": {}}).addCallback(answers.append)
    assert answers == []
    second.start()
    assert answers[0]["runs"] == {"100.0": [1, 6], "200.0": [1, 1]}
    second.service._stop()


def test_a_disk_that_hangs_makes_no_caller_wait_for_ever(live, folder, monkeypatch):
    agent, go_on = Agent(folder), threading.Event()
    monkeypatch.setattr(agent.service._disk, "load", go_on.wait)
    agent.service.start()
    agent.reactor.pump()
    refused = []
    agent.service.serve({"recorder": "r", "every": 1.0, "have": {}}).addErrback(refused.append)
    agent.clock.step(11)
    agent.reactor.advance(11)
    assert refused[0].value.error == "ocs.error.not_ready"
    go_on.set()
    agent.settle()
    agent.service._stop()


def test_a_disk_that_takes_nothing_is_told_once_and_tried_again(live, folder):
    agent = live()
    agent.check()
    folder.write_text("a file")
    agent.linked = False
    for _ in range(20):
        publish(agent.keep, 1)
        agent.step()
    assert len(agent.log.of("warn")) == 1
    assert "--state-dir" in agent.log.of("warn")[0]
    assert agent.numbers() == list(range(1, 21))
    folder.unlink()
    agent.step(40)
    assert agent.keep.saved == 21
    assert len(agent.log.of("info")) == 1
    assert "recorders.json" in files(folder)


def test_what_is_given_up_is_told_and_offered_as_lost(live, folder):
    agent = live(folder=None)
    agent.check()
    publish(agent.keep, 20, size=1 << 20)
    agent.step()
    ((run, first, end, *_, samples),) = agent.check()["lost"]
    assert (run, first) == ("100.0", 1)
    assert samples == {"temps": 2 * (end - 1)}
    assert len(agent.log.of("error")) == 1
    assert agent.check(**{"100_0": end})["lost"] == []


def test_who_leaves_leaves_nothing(live, folder):
    agent = live()
    agent.check()
    agent.linked = False
    publish(agent.keep, 5)
    agent.step(2)
    assert any(name.endswith(".journal") for name in files(folder))
    agent.ask(leave=True)
    agent.step(2)
    assert files(folder) == ["recorders.json"]
    assert live("200.0").keep.recorders.known == {}


def test_runs_of_unknown_recorders_are_kept_for_somebody(live, folder):
    first = live()
    first.check()
    publish(first.keep, 5)
    first.end()
    (folder / "recorders.json").unlink()
    second = live("200.0")
    second.step(5)
    assert second.numbers(run="100.0") == [1, 2, 3, 4, 5]


def test_many_fetches_from_the_disk_at_once_are_put_off(live, folder):
    first = live()
    first.check()
    publish(first.keep, 5)
    first.end()
    second = live("200.0")
    request = {"recorder": "r", "every": 1.0, "run": "100.0", "from": 1, "since": 0.0, "limit": 1}
    for _ in range(16):
        second.service.serve(request)
    with pytest.raises(ApplicationError) as refused:
        second.service.serve(request)
    assert refused.value.error == "ocs.error.busy"
    second.settle()


# The end


def test_the_end_comes_at_once_if_the_recorder_has_all(live, folder):
    agent = live()
    agent.check()
    publish(agent.keep, 5)
    agent.step()
    agent.check(**{"100_0": 6})
    assert agent.end()
    assert files(folder) == ["recorders.json"]


def test_if_the_disk_takes_nothing_the_end_waits_for_the_recorder(live, folder):
    agent = live()
    agent.check()
    agent.step()
    (folder / "recorders.json").unlink()
    folder.rmdir()
    folder.write_text("a file")
    publish(agent.keep, 5)
    assert not agent.end()
    ended = agent.service._ending
    agent.check(**{"100_0": 6})
    assert ended.called


def test_an_agent_that_never_joined_ends_at_once(folder):
    assert Agent(folder).end()


def spilling(agent):
    """Have an agent that has met a recorder write five messages."""
    agent.check()
    agent.linked = False
    publish(agent.keep, 5)
    agent.step(2)
    assert agent.keep.saved == 6


@pytest.mark.parametrize(("late", "patience"), [(False, 70), (True, 3700)])
def test_two_lives_at_once_do_not_disturb_each_other_and_the_longer_one_takes_over(live, late, patience):
    first = live()
    if not late:
        spilling(first)
    second = live("200.0")
    spilling(second)
    if late:
        spilling(first)
    assert second.check()["runs"] == {"200.0": [1, 6]}
    first.end()
    second.linked = True
    for _ in range(patience // 100 + 1):
        second.check()
        second.clock.step(100)
        second.step()
    assert second.check()["runs"] == {"100.0": [1, 6], "200.0": [1, 6]}


def test_while_all_is_calm_no_thread_works(live, monkeypatch):
    agent = live()
    agent.check()
    agent.step(2)
    jobs = []
    monkeypatch.setattr(agent.service._worker, "do", jobs.append)
    for _ in range(20):
        publish(agent.keep, 3)
        agent.check(**{"100_0": agent.keep.next})
        agent.step()
    assert jobs == []
