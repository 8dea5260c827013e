"""What is heard, brought to the rules: agents, operations, feeds, values, figures."""

import pytest

from ocs.agents.watcher.board import Board
from ocs.agents.watcher.judging import figure
from ocs.agents.watcher.rules import Kind, Rule, Ruleset
from ocs.agents.watcher.watch import Watch
from ocs.base import OpCode
from ocs.presence.asking import Question
from ocs.presence.roster import Moment


class Bench:
    """A watch with a clock of the test's own; agents beat when the test says so."""

    def __init__(self, *rules):
        self.board = Board()
        self.watch = Watch("obs", self.board)
        self.time = 1000.0
        self.rules(*rules)
        self.watch.link_up(self.now)

    @property
    def now(self):
        return Moment(1.7e9 + self.time, self.time)

    def rules(self, *rules):
        self.watch.set_rules(Ruleset(rules), self.now)

    def beat(self, name="cam", agent_class="Camera", **codes):
        feed = {"agent_address": f"obs.{name}", "agent_class": agent_class}
        self.watch.hear_heartbeat([codes, feed], self.now)

    def say(self, values, name="cam", feed="temps", field="t"):
        envelope = {"agent_address": f"obs.{name}", "feed_name": feed, "agent_class": "Camera", "record": True}
        self.watch.hear_message([{"block": {"data": {field: values}}}, envelope], self.now)

    def pass_time(self, seconds, *beating):
        for _ in range(int(seconds)):
            self.time += 1
            for name in beating:
                self.beat(name)
            self.tick()

    def tick(self):
        list(self.watch.tick(self.now))

    @property
    def alarms(self):
        return {(alarm["rule"], alarm["subject"]): alarm["state"] for alarm in self.board.shown(99)}


EXPIRED = Rule("dead", Kind.EXPIRED)


def test_an_agent_expires_and_comes_back():
    bench = Bench(EXPIRED)
    bench.beat("cam")
    bench.beat("dome")
    bench.pass_time(7, "dome")
    assert bench.alarms == {("dead", "cam"): "firing"}
    bench.beat("cam")
    assert bench.alarms == {}


def test_nobody_expires_while_the_watcher_is_deaf_nor_right_after():
    bench = Bench(EXPIRED)
    for number in range(1000):
        bench.beat(f"a{number}")
    bench.watch.link_down()
    bench.pass_time(100)
    bench.watch.link_up(bench.now)
    bench.pass_time(5)
    assert bench.alarms == {}
    bench.pass_time(2)
    assert len(bench.board.alarms) == 1000


def test_an_agent_that_is_named_is_missed_though_it_was_never_heard():
    bench = Bench(Rule("dead", Kind.EXPIRED, agents="ghost, cam"), Rule("some", Kind.EXPIRED, agents="gh*"))
    bench.beat("cam")
    bench.pass_time(5, "cam")
    assert bench.alarms == {}
    bench.pass_time(1, "cam")
    assert bench.alarms == {("dead", "ghost"): "firing"}


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (Kind.OPERATION_FAILED, {OpCode.FAILED}),
        (Kind.OPERATION_STOPPED, {OpCode.NONE, OpCode.SUCCEEDED, OpCode.FAILED}),
        (Kind.DEGRADED, {OpCode.DEGRADED}),
    ],
)
def test_operations_by_their_codes(kind, bad):
    for code in OpCode:
        bench = Bench(Rule("r", kind, operations="acq"))
        bench.beat(acq=int(code), other=int(OpCode.FAILED))
        assert bench.alarms == ({("r", "cam.acq"): "firing"} if code in bad else {})


def test_of_an_agent_that_is_silent_nothing_new_is_said_and_nothing_is_over():
    failed, slow = Rule("failed", Kind.OPERATION_FAILED), Rule("slow", Kind.DEGRADED, wait=60)
    bench = Bench(failed, slow)
    bench.beat(acq=6, cool=8)
    assert bench.alarms == {("failed", "cam.acq"): "firing", ("slow", "cam.cool"): "pending"}
    bench.pass_time(100)
    assert bench.alarms == {("failed", "cam.acq"): "firing"}


def test_an_operation_that_is_gone_has_no_alarm():
    bench = Bench(Rule("failed", Kind.OPERATION_FAILED))
    bench.beat(acq=6)
    bench.beat(new=3)
    assert bench.alarms == {}


def test_rules_that_come_later_judge_what_is_known_and_alarms_of_others_end():
    bench = Bench(EXPIRED)
    bench.beat(acq=6)
    bench.rules(Rule("failed", Kind.OPERATION_FAILED))
    assert bench.alarms == {("failed", "cam.acq"): "firing"}
    bench.rules(Rule("failed", Kind.OPERATION_FAILED, agents="dome"))
    assert bench.alarms == {}


def test_an_alarm_ends_when_its_rule_is_about_another_feed_field_or_kind():
    hot = Rule("hot", Kind.VALUE, fields="t*", high=1)
    for other in (
        Rule("hot", Kind.VALUE, fields="u", high=1),
        Rule("hot", Kind.VALUE, fields="t*", feeds="other", high=1),
        Rule("hot", Kind.EXPIRED),
        Rule("hot", Kind.NO_DATA, wait=9),
    ):
        bench = Bench(hot)
        bench.say([5])
        bench.rules(Rule("hot", Kind.VALUE, fields="t", high=2))
        assert bench.alarms == {("hot", "cam.temps.t"): "firing"}
        bench.rules(other)
        assert bench.alarms == {}


def test_losses_are_counted_on_when_other_rules_change():
    lost = Rule("lost", Kind.GAP)
    bench = Bench(lost)
    bench.beat("rec", "AggregatorAgent", record=3)
    bench.watch.answer(Question("rec", "record"), {"data": {"dropped": {"a": 1}}}, bench.now)
    bench.rules(lost, EXPIRED)
    bench.watch.answer(Question("rec", "record"), {"data": {"dropped": {"a": 2}}}, bench.now)
    assert bench.alarms == {("lost", "rec"): "firing"}


def test_what_the_agent_says_stays_with_the_alarm():
    bench = Bench(Rule("failed", Kind.OPERATION_FAILED))
    bench.beat(acq=6)
    [(key, _)] = bench.board.of_agent("cam")
    bench.watch.last_words(key, "CRASH: no such device", bench.now)
    bench.beat(acq=6, other=3)
    assert bench.board.alarms[key].message == "has failed: CRASH: no such device"


# Feeds


def test_a_feed_falls_silent_and_speaks_again():
    bench = Bench(Rule("quiet", Kind.NO_DATA, wait=10))
    bench.say([1.0])
    bench.pass_time(10)
    assert bench.alarms == {}
    bench.pass_time(1)
    assert bench.alarms == {("quiet", "cam.temps"): "firing"}
    bench.say([1.0])
    assert bench.alarms == {}
    bench.pass_time(11)
    assert bench.alarms == {("quiet", "cam.temps"): "firing"}


def test_a_feed_that_is_named_is_missed_though_it_has_never_spoken():
    bench = Bench(Rule("quiet", Kind.NO_DATA, wait=10, agents="cam", feeds="temps"))
    bench.pass_time(11)
    assert bench.alarms == {("quiet", "cam.temps"): "firing"}


def test_no_feed_falls_silent_for_want_of_a_router():
    bench = Bench(Rule("quiet", Kind.NO_DATA, wait=10))
    bench.say([1.0])
    bench.watch.link_down()
    bench.pass_time(60)
    bench.watch.link_up(bench.now)
    bench.pass_time(10)
    assert bench.alarms == {}
    bench.pass_time(1)
    assert bench.alarms == {("quiet", "cam.temps"): "firing"}


def test_a_value_outside_has_to_be_well_inside_again():
    bench = Bench(Rule("hot", Kind.VALUE, fields="t", high=10, hysteresis=2))
    for value, state in [(10, None), (10.1, "firing"), (9, "firing"), (7.9, None), (9, None)]:
        bench.say([value])
        assert bench.alarms.get(("hot", "cam.temps.t")) == state


def test_a_single_value_outside_among_many_is_told():
    bench = Bench(Rule("hot", Kind.VALUE, fields="t", high=10, notify=("ops",)))
    bench.say([1.0, 11.0, 1.0])
    assert [notice.what for notice in bench.board.take_notices()] == ["firing", "resolved"]


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        [1, 2],
        [{}, {}],
        [{"b": 3}, {"agent_address": "obs.cam", "feed_name": "temps"}],
        [{"b": {"data": {"t": 5, 3: [1]}}}, {"agent_address": "obs.cam", "feed_name": "temps"}],
        [{"b": {"data": {"t": [None, "x", float("nan"), True, [1]]}}}, {"agent_address": "obs.c", "feed_name": "f"}],
    ],
)
def test_what_is_no_message_changes_nothing(event):
    bench = Bench(Rule("hot", Kind.VALUE, fields="t", high=-1e300))
    bench.watch.hear_message(event, bench.now)
    assert bench.alarms == {}


def test_only_the_topics_that_rules_need_are_asked_for():
    bench = Bench(
        EXPIRED,
        Rule("a", Kind.NO_DATA, wait=1, agents="cam,dome", feeds="temps"),
        Rule("b", Kind.VALUE, fields="t", high=1, agents="c*", feeds="temps"),
    )
    assert bench.watch.topics() == ["obs..feeds.temps", "obs.cam.feeds.temps", "obs.dome.feeds.temps"]


# Figures


def test_losses_are_told_for_a_while():
    bench = Bench(Rule("lost", Kind.GAP, within=60))
    bench.beat("rec", "AggregatorAgent", record=3)
    asked = Question("rec", "record")
    assert bench.watch.questions() == [asked]
    for lost, alarms in [(5, 0), (5, 0), (7, 1)]:
        bench.watch.answer(asked, {"data": {"messages": {"lost": lost}, "dropped": {}}}, bench.now)
        assert len(bench.alarms) == alarms
    bench.time += 61
    bench.watch.answer(asked, {"data": {"messages": {"lost": 7}, "dropped": {}}}, bench.now)
    assert bench.alarms == {}
    bench.watch.answer(asked, {"data": {"messages": {"lost": 1}, "dropped": {}}}, bench.now)
    assert len(bench.alarms) == 1


def test_queues_disks_and_any_figure():
    bench = Bench(
        Rule("disk", Kind.DISK, low=1000.0),
        Rule("queue", Kind.QUEUE, high=50.0),
        Rule("cold", Kind.DATA, operations="cool", path="stage.t", high=4.0),
    )
    bench.beat("rec", "AggregatorAgent", record=3)
    bench.beat("fridge", "Fridge", cool=3)
    assert set(bench.watch.questions()) == {Question("rec", "record"), Question("fridge", "cool")}
    bench.watch.answer(Question("rec", "record"), {"data": {"waiting_bytes": 51, "disk_free_bytes": 999}}, bench.now)
    bench.watch.answer(Question("fridge", "cool"), {"data": {"stage": {"t": 5}}}, bench.now)
    assert set(bench.alarms) == {("disk", "rec"), ("queue", "rec"), ("cold", "fridge")}
    bench.watch.answer(Question("rec", "record"), {"data": None}, bench.now)
    assert len(bench.alarms) == 3
    bench.watch.answer(Question("rec", "record"), {"data": {"waiting_bytes": 0, "disk_free_bytes": 2000}}, bench.now)
    assert set(bench.alarms) == {("cold", "fridge")}


def test_the_watchers_own_disks():
    bench = Bench(Rule("disk", Kind.DISK, low=1000.0, paths=("/data",)))
    assert bench.watch.disks() == ["/data"]
    bench.watch.see_disks({"/data": 10.0}, bench.now)
    assert bench.alarms == {("disk", "/data"): "firing"}
    bench.watch.see_disks({"/data": None}, bench.now)
    assert bench.alarms == {("disk", "/data"): "firing"}


def test_the_router():
    bench = Bench(Rule("router", Kind.ROUTER, wait=3))
    bench.watch.link_down()
    bench.pass_time(2)
    assert bench.alarms == {("router", "router"): "pending"}
    bench.pass_time(2)
    assert bench.alarms == {("router", "router"): "firing"}
    bench.watch.link_up(bench.now)
    bench.tick()
    assert bench.alarms == {}


def test_an_agent_that_is_taken_away_for_good_is_reset_and_forgotten():
    bench = Bench(EXPIRED)
    bench.beat("cam")
    bench.pass_time(10)
    assert bench.watch.reset("dead", "cam", bench.now) == 1
    bench.pass_time(100)
    assert bench.alarms == {}
    assert bench.watch.roster.agents == {}


@pytest.mark.parametrize(
    ("data", "path", "value"),
    [
        ({"a": {"b": 3}}, "a.b", 3.0),
        ({"a": {"b": 3, "c": 4, "d": "x"}}, "a", 7.0),
        ({"a": 3}, "a.b", None),
        ({"a": True}, "a", None),
        ({"a": float("inf")}, "a", None),
        ([], "a", None),
        (None, "a", None),
    ],
)
def test_figures_in_the_data_of_a_session(data, path, value):
    assert figure(data, path) == value
