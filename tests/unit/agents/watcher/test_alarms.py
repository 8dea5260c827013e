"""An alarm's life, and the board that keeps all of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ocs.agents.watcher.alarms import Key, Phase, Sight, after_sight, state_of
from ocs.agents.watcher.board import MAX_ALARMS, MAX_MUTES, Board, Mute
from ocs.agents.watcher.rules import Escalation, Kind, Rule
from ocs.errors import WatcherError

BAD, GOOD, UNKNOWN = Sight(True, 7.0, "is bad"), Sight(False), Sight(None)


def a_rule(name="r", **keywords):
    return Rule(name, Kind.EXPIRED, notify=keywords.pop("notify", ("ops",)), **keywords)


def a_board(*rules):
    board = Board()
    board.set_rules(rules or [a_rule()], lambda rule, subject: True, 0)
    return board


def told(board):
    return [(notice.what, notice.key.subject, notice.targets) for notice in board.take_notices()]


def states(board):
    return [change.state for change in board.take_changes()]


def test_it_fires_at_once_or_when_its_cause_has_lasted():
    board, quick, slow = a_board(a_rule(), a_rule("slow", wait=10)), a_rule(), a_rule("slow", wait=10)
    board.see(quick, "x", BAD, 0)
    board.see(slow, "x", BAD, 0)
    assert board.counts() == {"firing": 1, "pending": 1}
    board.tick(9.9)
    assert board.counts() == {"firing": 1, "pending": 1}
    board.tick(10)
    assert board.counts() == {"firing": 2}


def test_a_cause_that_does_not_last_is_told_to_nobody():
    slow = a_rule(wait=10)
    board = a_board(slow)
    board.see(slow, "x", BAD, 0)
    board.see(slow, "x", GOOD, 9)
    board.tick(20)
    assert board.alarms == {}
    assert told(board) == []
    assert states(board) == ["pending", "ok"]


def test_beginning_and_end_are_told_once():
    board, quick = a_board(), a_rule()
    for now in range(5):
        board.see(quick, "x", BAD, now)
        board.tick(now)
    board.see(quick, "x", GOOD, 9)
    board.see(quick, "x", GOOD, 10)
    assert told(board) == [("firing", "x", ("ops",)), ("resolved", "x", ("ops",))]


def test_what_cannot_be_told_leaves_an_alarm_as_it_is():
    board, quick = a_board(), a_rule()
    board.see(quick, "x", BAD, 0)
    board.see(quick, "x", UNKNOWN, 5)
    assert board.counts() == {"firing": 1}


def test_a_latched_alarm_stays_until_it_is_reset_and_fires_anew():
    sticky = a_rule(latch=True)
    board = a_board(sticky)
    board.see(sticky, "x", BAD, 0)
    board.acknowledge("r", "x", "nina", "", 1)
    board.see(sticky, "x", GOOD, 2)
    assert states(board) == ["firing", "acknowledged", "latched"]
    board.see(sticky, "x", BAD, 3)
    assert board.shown(9)[0]["acknowledged_by"] is None
    board.see(sticky, "x", GOOD, 4)
    assert told(board) == [("firing", "x", ("ops",)), ("firing", "x", ("ops",)), ("latched", "x", ("ops",))]
    with pytest.raises(WatcherError, match="other of x is not latched"):
        board.reset("other", "x", 5, is_gone=lambda _: False)
    assert board.reset("r", "*", 5, is_gone=lambda _: False) == [Key("r", "x")]
    assert told(board) == [("resolved", "x", ("ops",))]


def test_a_firing_alarm_is_reset_only_where_its_agent_is_gone():
    board, quick = a_board(), a_rule()
    board.see(quick, "x.acq", BAD, 0)
    with pytest.raises(WatcherError, match="nothing to reset"):
        board.reset("r", "*", 1, is_gone=lambda _: False)
    board.reset("r", "*", 1, is_gone=lambda instance: instance == "x")
    assert board.alarms == {}


def test_it_is_escalated_step_by_step_until_somebody_acknowledges_it():
    steps = (Escalation(60, ("night",)), Escalation(120, ("boss",)), Escalation(180, ("world",)))
    urgent = a_rule(escalate=steps)
    board = a_board(urgent)
    board.see(urgent, "x", BAD, 0)
    for now in (30, 60, 90, 120, 130):
        board.tick(now)
    board.acknowledge("r", "x", "nina", "on it", 150)
    board.tick(500)
    board.see(urgent, "x", GOOD, 600)
    assert told(board) == [
        ("firing", "x", ("ops",)),
        ("escalated", "x", ("night",)),
        ("escalated", "x", ("boss",)),
        ("resolved", "x", ("ops", "night", "boss")),
    ]


def test_what_is_muted_is_told_afterwards_if_it_is_still_there():
    board, quick = a_board(), a_rule()
    board.mute(Mute("r", "*", 100), 0)
    board.see(quick, "x", BAD, 1)
    board.see(quick, "y", BAD, 1)
    board.see(quick, "y", GOOD, 50)
    board.tick(99)
    assert told(board) == []
    assert board.counts() == {"muted": 1}
    board.tick(100)
    assert told(board) == [("firing", "x", ("ops",))]
    assert board.counts() == {"firing": 1}


def test_a_mute_ends_by_hand_and_mistakes_are_told():
    board = a_board()
    board.mute(Mute("r", "x", 100, "nina"), 0)
    board.mute(Mute("r", "x", 200, "nina"), 0)
    assert len(board.mutes) == 1
    with pytest.raises(WatcherError, match=r"r of \* is not muted; muted is: r of x"):
        board.unmute("r", "*", 1)
    assert board.unmute("r", "x", 1) == 1
    with pytest.raises(WatcherError, match="there is no rule 'stray'; there is: r"):
        board.mute(Mute("stray", "*", 100), 0)


def test_mutes_and_alarms_are_bounded():
    board, quick = a_board(), a_rule()
    for number in range(MAX_MUTES):
        board.mutes.append(Mute("r", str(number), 1e12))
    with pytest.raises(WatcherError, match="1000 mutes already"):
        board.mute(Mute("r", "one more", 1e12), 0)
    board.mutes.clear()
    for number in range(MAX_ALARMS + 5):
        board.see(quick, f"a{number}", BAD, 0)
    assert len(board.alarms) == MAX_ALARMS
    assert board.refused == 5


def test_alarms_end_with_their_rule():
    board, quick = a_board(), a_rule()
    board.see(quick, "x", BAD, 0)
    board.set_rules([a_rule("other")], lambda rule, subject: True, 5)
    assert board.alarms == {}
    assert states(board) == ["firing", "ok"]


def test_the_worst_are_shown_first():
    mild, grave = a_rule("mild", severity="info"), a_rule("grave", severity="critical")
    board = a_board(mild, grave)
    for number in range(3):
        board.see(mild, f"m{number}", BAD, number)
        board.see(grave, f"g{number}", BAD, number)
    assert [alarm["subject"] for alarm in board.shown(4)] == ["g0", "g1", "g2", "m0"]


@given(
    st.lists(st.tuples(st.sampled_from([BAD, GOOD, UNKNOWN]), st.floats(0, 100)), max_size=30),
    st.floats(0, 50),
    st.booleans(),
)
def test_an_alarm_never_fires_before_its_cause_has_lasted(sights, wait, latch):
    alarm, now, bad_since = None, 0.0, math.inf
    for sight, seconds in sights:
        now += seconds
        before = alarm
        alarm = after_sight(alarm, sight, now, wait=wait, latch=latch)
        if sight.bad is False or (sight.bad is None and alarm is None):
            bad_since = math.inf
        elif sight.bad:
            bad_since = min(bad_since, now)
        if alarm is not None and alarm.phase is Phase.FIRING and (before is None or before.phase is Phase.PENDING):
            assert now - bad_since >= wait - 1e-6
        if sight.bad is False:
            assert alarm is None or (latch and alarm.phase is Phase.LATCHED)
        assert state_of(alarm, muted=False) in ("ok", "pending", "firing", "latched")


class Told(RuleBasedStateMachine):
    """Each beginning that somebody is told of is followed by its end, never two of one kind in a row."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.rule = a_rule(wait=5, latch=True, escalate=(Escalation(10, ("night",)),))
        self.board = a_board(self.rule)
        self.told = []
        self.shown = "ok"

    @rule(sight=st.sampled_from([BAD, GOOD, UNKNOWN]))
    def see(self, sight):
        self.board.see(self.rule, "x", sight, self.now)

    @rule(seconds=st.floats(0.1, 30))
    def wait(self, seconds):
        self.now += seconds
        self.board.tick(self.now)

    @rule(what=st.sampled_from(["ack", "reset", "mute", "unmute"]))
    def act(self, what):
        try:
            if what == "ack":
                self.board.acknowledge("r", "x", "nina", "", self.now)
            elif what == "reset":
                self.board.reset("r", "x", self.now, is_gone=lambda _: False)
            elif what == "mute":
                self.board.mute(Mute("r", "x", self.now + 20), self.now)
            else:
                self.board.unmute("r", "x", self.now)
        except WatcherError:
            pass

    @invariant()
    def what_is_told_makes_sense(self):
        for change in self.board.take_changes():
            assert change.state != self.shown
            self.shown = change.state
        alarm = self.board.alarms.get(Key("r", "x"))
        assert self.shown == state_of(alarm, muted=bool(self.board.mutes))
        for notice in self.board.take_notices():
            last = self.told[-1] if self.told else "resolved"
            if notice.what == "escalated":
                assert last != "resolved"
            if notice.what == "resolved":
                assert last != "resolved"
            self.told.append(notice.what)


TestTold = Told.TestCase
