"""The reactor's side of the recorder: decisions about streams become calls, and answers become items."""

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, fail

from ocs.agents.aggregator.inbox import Inbox, Kind
from ocs.agents.aggregator.ledger import read_message
from ocs.agents.aggregator.reception import Reception
from ocs.agents.aggregator.streams import Streams
from ocs.wamp.frames import CBOR, Frame, pack
from tests.harness.archive import Lines, envelope, event, message
from tests.harness.reactor import SteppedReactor

AGENT = "observatory.a"
RUN = "1790000000.5"
KEY = (AGENT, RUN)


class Agent:
    """Takes calls, to be answered by the test."""

    agent_address = "observatory.rec"

    def __init__(self):
        self.reactor = SteppedReactor()
        self.realm_joined = True
        self.log = Lines()
        self.calls = []

    def call(self, procedure, *args):
        answer = Deferred()
        self.calls.append((procedure, *args, answer))
        return answer


class Notebook:
    def __init__(self):
        self.notes = []

    def publish(self, note):
        self.notes.append(note)
        return {"notes": {"block_name": "notes", "timestamps": [1.0], "data": {"kind": [note.kind]}}}, envelope()


class Rig:
    def __init__(self):
        self.agent = Agent()
        self.inbox = Inbox()
        self.inbox.open()
        self.notebook = Notebook()
        self.given = 10
        self.lost = []
        self.reception = Reception(self.agent, self.inbox, self.notebook)

    def start(self, **positions):
        streams = Streams("me", root="observatory", since=0.0, positions={KEY: positions.get("at", 1)})
        self.reception.start(streams)

    def turn(self, seconds=1.0):
        self.agent.reactor.advance(seconds)

    def publish(self, number):
        self.reception.take(numbered(number), Frame(CBOR, b"as it came %d" % number))

    def beat(self, last):
        feed = {"agent_address": AGENT, "session_id": RUN, "feed_name": "heartbeat", "record": False, "last_seq": last}
        self.reception.take([{}, feed])

    def asked(self, what):
        """Return the answer to a call of a kind that is under way, and its request."""
        for _ in range(20):
            if not self.agent.calls:
                self.turn()
                continue
            procedure, request, answer = self.agent.calls.pop(0)
            assert procedure == f"{AGENT}.replay"
            if what in request:
                return request, answer
            if "have" in request:
                answer.callback({"session_id": RUN, "runs": {RUN: [1, self.given]}, "lost": self.lost})
        raise AssertionError(f"nobody was asked for {what}")

    def items(self):
        return self.inbox.take()[0]


def numbered(number):
    return [message([float(number)], n=[number]), envelope(seq=number)]


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.reception.stop()


def numbers(items):
    return [item.next - 1 for item in items if item.stream == KEY]


def test_messages_are_taken_in_order_as_they_came(rig):
    rig.start()
    rig.publish(1)
    rig.publish(2)
    rig.publish(2)
    first, second = rig.items()

    assert (first.kind, first.body) == (Kind.MESSAGE + CBOR, b"as it came 1")
    assert first.event == tuple(numbered(1))
    assert (second.stream, second.next) == (KEY, 3)


def test_what_is_missing_is_fetched_and_taken_before_what_follows(rig):
    rig.given = 6
    rig.start(at=3)
    rig.publish(5)
    rig.turn()
    rig.turn()
    request, answer = rig.asked("run")
    assert (request["run"], request["from"]) == (RUN, 3)
    answer.callback({"run": RUN, "messages": [[n, 1.0, pack([numbered(n)])] for n in (3, 4, 5)], "next": 6})
    rig.publish(6)
    items = rig.items()

    assert numbers(items) == [3, 4, 5, 6]
    assert read_message(items[0].kind, items[0].body)[0] == numbered(3)[0]


def test_what_did_not_fit_in_an_answer_is_asked_for_at_once(rig):
    rig.given = 6
    rig.start(at=3)
    rig.publish(5)
    _, answer = rig.asked("run")
    rig.agent.calls.clear()
    answer.callback({"run": RUN, "messages": [[3, 1.0, pack([numbered(3)])]], "next": 4})

    ((_, request, _),) = rig.agent.calls
    assert (request["run"], request["from"]) == (RUN, 4)


def test_nothing_more_is_asked_for_than_there_is_room_for(rig):
    rig.inbox = rig.reception._inbox = Inbox(max_values=2)
    rig.inbox.open()
    rig.given = 6
    rig.start(at=3)
    rig.publish(5)
    _, answer = rig.asked("run")
    rig.agent.calls.clear()
    answer.callback({"run": RUN, "messages": [[3, 1.0, pack([numbered(3)])]], "next": 4})

    assert rig.agent.calls == []


def test_what_nobody_has_is_logged_noted_and_passed_over(rig):
    rig.lost = [[RUN, 3, 6, 100.0, 200.0, {"x": 12, "y": 3}]]
    rig.start(at=3)
    rig.publish(7)
    rig.turn()
    rig.turn()
    _, answer = rig.asked("run")
    answer.callback({"run": RUN, "messages": [[6, 1.0, b""]], "next": 7})

    assert [(note.kind, note.subject, note.samples, note.since, note.until) for note in rig.notebook.notes] == [
        ("lost", f"{AGENT}.feeds.x", 12, 100.0, 200.0),
        ("lost", f"{AGENT}.feeds.y", 3, 100.0, 200.0),
    ]
    assert "3 messages are lost" in rig.agent.log.lines[-1]
    assert numbers(rig.items()) == [6]


def test_a_stream_that_moves_on_without_a_message_is_entered_in_the_journal(rig):
    rig.lost = [[RUN, 3, 10, 100.0, 200.0, {"x": 1}]]
    rig.start(at=3)
    rig.beat(9)
    rig.turn()
    rig.turn()
    _, answer = rig.asked("run")
    answer.callback({"run": RUN, "messages": [], "next": 10})

    moved = [item for item in rig.items() if item.kind == Kind.POSITION]
    assert [(item.stream, item.next, item.body) for item in moved] == [(KEY, 10, pack([*KEY, 10]))]


def test_what_is_safe_is_told_to_the_agent(rig):
    rig.start()
    rig.beat(0)
    rig.turn()
    rig.agent.calls.pop()[2].callback({"session_id": RUN, "runs": {RUN: [1, 2]}, "lost": []})
    rig.publish(1)
    rig.reception.safe({KEY: 2})
    rig.turn(2)
    request, _ = rig.asked("have")

    assert request["have"] == {RUN: 2}
    assert request["recorder"] == "me"


def test_an_agent_that_does_not_answer_is_asked_again(rig):
    rig.start(at=3)
    rig.beat(9)
    rig.turn()
    (call,) = rig.agent.calls
    rig.turn(15)
    assert rig.agent.calls == [call]
    rig.turn(10)
    rig.turn(5)

    assert len(rig.agent.calls) == 2


def test_a_call_that_fails_is_made_again(rig):
    calls = []

    def call(procedure, request):
        calls.append(procedure)
        return fail(RuntimeError("no such procedure"))

    rig.agent.call = call
    rig.start(at=3)
    rig.beat(9)
    for _ in range(40):
        rig.turn(0.25)

    assert 3 <= len(calls) <= 12


def test_an_answer_that_comes_after_the_end_is_nobodys(rig):
    rig.start(at=3)
    rig.beat(9)
    rig.turn()
    _, answer = rig.asked("have")
    rig.reception.stop()
    rig.start(at=3)
    answer.callback({"session_id": RUN, "runs": {RUN: [1, 4]}, "lost": []})

    assert numbers(rig.items()) == []


def test_a_person_s_stop_is_told_to_the_agents(rig):
    rig.start(at=3)
    rig.reception.stop(leave=True)

    assert [(procedure, request) for procedure, request, _ in rig.agent.calls] == [
        (f"{AGENT}.replay", {"recorder": "me", "leave": True})
    ]


def test_messages_with_numbers_wait_with_their_agents_until_it_is_known_which_are_wanted(rig):
    rig.publish(1)
    rig.reception.take(event([1.0], a=[1]), Frame(CBOR, b"old"))
    (item,) = rig.items()

    assert (item.kind, item.body, item.stream) == (Kind.MESSAGE + CBOR, b"old", None)


def test_while_there_is_no_room_messages_stay_with_their_agents(rig):
    rig.inbox = rig.reception._inbox = Inbox(max_values=2)
    rig.inbox.open()
    rig.start()
    rig.publish(1)
    rig.publish(2)
    assert numbers(rig.items()) == [1]
    rig.turn()
    rig.turn()
    request, _ = rig.asked("run")

    assert request["from"] == 2


def test_agents_that_come_are_noted(rig):
    rig.start()
    rig.beat(0)

    assert [(note.kind, note.subject, note.detail) for note in rig.notebook.notes] == [("on", AGENT, RUN)]
    assert rig.items()[0].event[0]["notes"]["data"] == {"kind": ["on"]}


@pytest.mark.parametrize(
    "bad", [None, 5, [], [1, 2], [{}, {"feed_name": "heartbeat", "record": False}], [{}, {"record": True, "seq": "x"}]]
)
def test_nonsense_is_no_message(rig, bad):
    rig.start()
    rig.reception.take(bad)

    assert [item for item in rig.items() if item.stream] == []


def test_what_has_arrived_is_known_after_a_round_trip(rig):
    arrived = SimpleNamespace(count=0)

    def note():
        arrived.count += 1

    rig.reception.when_arrived(note)
    (call,) = rig.agent.calls
    assert (call[0], arrived.count) == ("wamp.session.count", 0)
    call[-1].callback(3)
    rig.agent.realm_joined = False
    rig.reception.when_arrived(note)

    assert arrived.count == 2


def test_what_is_behind_is_shown_when_all_that_was_sent_has_arrived(rig):
    rig.start()
    rig.turn()
    assert rig.reception.counts["behind"] == 0
    rig.publish(2)
    rig.reception.when_arrived(lambda: None)
    rig.agent.calls.pop()[-1].callback(1)

    assert rig.reception.counts["behind"] == 1
    assert rig.reception.counts["let_go"] == 1


def test_a_turn_that_fails_is_told_and_the_next_is_taken(rig):
    rig.agent.log.failure = rig.agent.log.lines.append
    rig.start(at=3)
    rig.beat(9)
    tick, rig.reception.streams.tick = rig.reception.streams.tick, lambda _now: 1 / 0
    rig.turn(0.25)
    rig.reception.streams.tick = tick
    rig.turn()

    assert "failed" in rig.agent.log.lines[0]
    assert rig.agent.calls
