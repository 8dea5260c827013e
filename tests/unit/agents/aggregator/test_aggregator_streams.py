"""Which messages are taken, what is asked of whom, and what is lost: case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.aggregator.asking import BATCH_BYTES, MAX_FETCHES, QUIET
from ocs.agents.aggregator.roll import Roll
from ocs.agents.aggregator.streams import GIVE_UP, Fetched, Lost, Streams, stream_of

A = "observatory.a"
KEY = A, "run"


def event(seq, agent=A, run="run"):
    return {"agent_address": agent, "session_id": run, "seq": seq}


def beat(last, agent=A, run="run"):
    return {"agent_address": agent, "session_id": run, "last_seq": last}


class Bench:
    """Streams, asked and answered by hand."""

    def __init__(self, positions=None, since=100.0):
        self.streams = Streams("me", root="observatory", since=since, positions=positions, every=1.0)
        self.streams.link_up()
        self.now = 1000.0

    def take(self, seq, room=True, **which):
        return self.streams.accept(event(seq, **which), room=room)

    def beat(self, last, **which):
        return self.streams.heartbeat(beat(last, **which), self.now)

    def ask(self, after=0.0, room=True):
        self.now += after
        return self.streams.requests(self.now, room=room)

    def ask_one(self, after=0.0, **how):
        [request] = self.ask(after, **how)
        return request

    def check(self, given=None, run="run", lost=(), after=0.0, earlier=()):
        """Have the one check that is due answered."""
        request = self.ask_one(after)
        assert "have" in request.body
        offered = {run: [1, given]} if given else {}
        offered |= {name: [1, end] for name, end in earlier}
        return self.streams.answered(request, {"session_id": run, "runs": offered, "lost": list(lost)})

    def fetch(self, *numbers, end=None, run="run", after=0.0):
        """Have the one fetch that is due answered."""
        request = self.ask_one(after)
        assert request.body["run"] == run
        return self.streams.answered(request, batch(*numbers, end=end, run=run))


def batch(*numbers, end=None, run="run"):
    messages = [[number, 500.0, b"%d" % number] for number in numbers]
    return {"run": run, "messages": messages, "next": end or numbers[-1] + 1}


def numbers(results):
    return [result.seq for result in results if isinstance(result, Fetched)]


def losses(results):
    return [(lost.first, lost.end, lost.why) for lost in results if isinstance(lost, Lost)]


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def known():
    """A recorder that has everything below 5 of a run."""
    return Bench({KEY: 5})


# Events


def test_a_run_is_taken_from_its_first_message(bench):
    assert [bench.take(seq) for seq in (1, 2, 3)] == [True, True, True]
    assert bench.streams.positions == {KEY: 4}


def test_a_message_that_comes_again_is_not_taken(known):
    assert not known.take(4)
    assert known.streams.duplicates == 1


def test_a_message_that_comes_too_early_is_let_go_and_so_are_the_next(known):
    assert [known.take(seq) for seq in (6, 7, 5)] == [False, False, False]
    assert (known.streams.early, known.streams.behind) == (3, 1)


def test_without_room_a_message_is_let_go(known):
    assert not known.take(5, room=False)
    assert not known.take(5)
    assert known.streams.behind == 1


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize("seq", [None, 0, -1, True, 5.0, "5", 1 << 60])
def test_a_message_without_a_usable_number_is_taken_if_there_is_room(known, seq, room):
    assert known.take(seq, room=room) is room
    assert known.streams.positions == {KEY: 5}


@pytest.mark.parametrize(
    "agent", ["elsewhere.a", "observatory", "observatory.", "observatory..a", "observatory.a b", 7]
)
def test_a_message_of_whom_nobody_could_call_is_taken_if_there_is_room(bench, agent):
    assert bench.take(7, agent=agent) is True
    assert bench.take(7, agent=agent, room=False) is False
    assert bench.ask() == []


def test_a_feed_that_is_not_hashable_harms_nobody(bench):
    assert bench.streams.accept({"agent_address": [], "session_id": {}, "seq": 1}, room=True)


def test_the_number_of_a_message_is_told():
    assert stream_of(event(3)) == (KEY, 3)
    assert stream_of({"agent_address": A, "session_id": "run"}) is None


# Checks


def test_an_agent_is_checked_when_it_is_heard_of(bench):
    bench.take(1)
    assert bench.ask() == []
    bench.beat(1)
    request = bench.ask_one()
    assert request == (A, {"recorder": "me", "every": 1.0, "have": {}})


def test_what_is_safe_is_told_no_sooner_than_agreed(known):
    known.beat(4)
    known.check(5)
    known.take(5)
    known.streams.durable({KEY: 6})
    assert known.ask(after=0.9) == []
    assert known.ask_one(after=0.1).body["have"] == {"run": 6}


def test_no_more_is_called_safe_than_is(known):
    known.beat(4)
    known.take(5)
    assert known.ask_one().body["have"] == {"run": 5}


def test_an_agent_of_which_nothing_comes_is_checked_seldom(known):
    known.beat(4)
    known.check(5)
    assert known.ask(after=QUIET - 0.1) == []
    assert known.ask_one(after=0.1)


def test_many_agents_are_called_less_often(bench):
    for number in range(300):
        bench.beat(0, agent=f"observatory.a{number}")
    assert bench.streams.requests(1000.0, room=True)[0].body["every"] == pytest.approx(3.0)


def test_after_a_failure_an_agent_is_asked_again_after_growing_pauses(known):
    known.beat(4)
    pauses = []
    for _ in range(8):
        request = known.ask_one()
        known.streams.failed(request, "no such procedure")
        start = known.now
        while not known.ask(0.25):
            pass
        pauses.append(known.now - start)
        known.streams.link_up()
        known.beat(4)
    assert pauses == [0.25] * 8, "a new link begins anew"
    pauses = []
    request = known.ask_one()
    for _ in range(8):
        known.streams.failed(request, "no such procedure")
        start = known.now
        while not (requests := known.ask(0.25)):
            pass
        [request] = requests
        pauses.append(known.now - start)
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_an_agent_that_is_gone_is_called_no_more_until_it_is_heard_of(known):
    known.take(7)
    for _ in range(20):
        for request in known.ask(after=10):
            known.streams.failed(request, "no such procedure")
    assert known.ask(after=1000) == []
    known.beat(6)
    assert known.ask_one()


def test_while_our_link_is_down_nobody_is_asked_and_no_answer_counts(known):
    known.beat(6)
    known.check(7)
    request = known.ask_one()
    known.streams.link_down()
    assert known.ask(after=100) == []
    assert known.streams.answered(request, batch(5, 6)) == []
    assert known.streams.failed(request, "lost") == []
    assert known.streams.positions == {KEY: 5}


def test_after_our_link_was_down_an_agent_is_checked_before_it_is_fetched_from(known):
    known.beat(6)
    known.check(7)
    known.streams.link_up()
    assert known.ask() == []
    known.beat(6)
    assert "have" in known.ask_one().body


def test_a_clock_that_is_set_back_stops_nothing(known):
    known.beat(4)
    known.check(5)
    known.now -= 10_000
    assert known.ask_one()


# Fetches


def test_a_gap_is_fetched_and_events_are_taken_again_afterwards(known):
    known.take(7)
    known.check(8)
    assert numbers(known.fetch(5, 6, 7)) == [5, 6, 7]
    assert known.take(8)
    assert (known.streams.fetched, known.streams.behind) == (3, 0)


def test_a_gap_before_silence_is_seen_by_the_heartbeat(known):
    known.beat(6)
    known.check(7)
    assert numbers(known.fetch(5, 6)) == [5, 6]


def test_what_comes_during_a_fetch_is_fetched_next(known):
    known.take(6)
    known.check(7)
    request = known.ask_one()
    assert not known.take(7)
    known.streams.answered(request, batch(5, 6))
    assert not known.take(8)
    assert numbers(known.fetch(7, 8)) == [7, 8]
    assert known.take(9)


def test_a_fetch_that_went_beyond_what_was_seen_makes_later_events_duplicates(known):
    known.take(6)
    known.check(9)
    known.fetch(5, 6, 7, 8)
    assert [known.take(seq) for seq in (7, 8, 9)] == [False, False, True]


def test_nothing_is_fetched_without_room(known):
    known.take(6)
    known.check(7)
    assert known.ask(room=False) == []
    assert known.ask_one().body["run"] == "run"


def test_few_fetches_are_under_way_at_once_and_nobody_starves(bench):
    agents = [f"observatory.a{number}" for number in range(10)]
    for agent in agents:
        bench.take(1, agent=agent)
        bench.take(100, agent=agent)
    for request in bench.ask():
        bench.streams.answered(request, {"session_id": "run", "runs": {"run": [1, 101]}, "lost": []})
    served = []
    for _ in range(5):
        requests = [request for request in bench.ask() if "run" in request.body]
        assert len(requests) == MAX_FETCHES
        for request in requests:
            served.append(request.agent)
            bench.streams.answered(request, batch(request.body["from"]))
    assert sorted(served) == sorted(agents * 2)


def test_a_run_whose_fetches_fail_delays_no_other(known):
    known.beat(6)
    known.check(7, earlier=[("old", 9)])
    first = known.ask_one()
    known.streams.failed(first, "unreadable")
    second = known.ask_one()
    assert {first.body["run"], second.body["run"]} == {"run", "old"}


def test_less_is_asked_for_after_failures(known):
    known.take(6)
    known.check(7)
    limits = []
    for pause in (0.0, 0.25, 0.5):
        request = known.ask_one(after=pause)
        limits.append(request.body["limit"])
        known.streams.failed(request, "timeout")
    assert limits == [BATCH_BYTES, BATCH_BYTES // 2, BATCH_BYTES // 4]


# What is not wanted


def test_of_a_run_that_was_there_before_only_new_messages_are_wanted(bench):
    bench.take(57)
    bench.check(58)
    request = bench.ask_one()
    assert (request.body["from"], request.body["since"]) == (1, 100.0)
    assert losses(bench.streams.answered(request, batch(50, 51, 57))) == []
    bench.check(58)
    results = bench.fetch(50, 51, end=58)
    assert (numbers(results), losses(results)) == ([50, 51], [])


def test_a_message_that_was_let_go_is_wanted_though_it_is_old(bench):
    bench.take(57)
    bench.check(58)
    bench.streams.answered(bench.ask_one(), batch(end=60))
    bench.check(60)
    bench.streams.answered(bench.ask_one(), batch(end=60))
    request = bench.ask_one()
    assert (request.body["from"], request.body["since"]) == (57, 0.0)


def test_what_is_let_go_is_wanted_though_the_heartbeat_knew_of_more(bench):
    bench.beat(9)
    bench.take(4, room=False)
    bench.check(10)
    bench.fetch(end=10)
    bench.check(10)
    bench.fetch(end=10)
    request = bench.ask_one()
    assert (request.body["from"], request.body["since"]) == (4, 0.0)


def test_after_the_first_message_of_a_run_everything_is_wanted(bench):
    bench.take(57)
    bench.check(58, lost=[["run", 1, 50, 1.0, 2.0, {}]])
    bench.fetch(50, 51)
    request = bench.ask_one()
    assert (request.body["from"], request.body["since"]) == (52, 0.0)
    bench.streams.answered(request, batch(57))
    bench.check(58)
    assert losses(bench.fetch(57)) == [(52, 57, "the agent no longer had them")]


def test_a_run_that_begins_while_we_record_is_wanted_whole(known):
    known.take(3, run="new")
    known.check(4, run="new")
    request = known.ask_one()
    assert (request.body["from"], request.body["since"]) == (1, 0.0)


# What is lost


def test_messages_that_the_agent_gave_up_are_lost(known):
    known.take(10)
    known.check(11, lost=[["run", 5, 8, 200.0, 300.0, {"feed": 30}]])
    results = known.fetch(8, 9, 10)
    assert results[0] == Lost(*KEY, 5, 8, 200.0, 300.0, {"feed": 30}, "the agent had to give them up")
    assert numbers(results) == [8, 9, 10]
    assert known.streams.lost_messages == 3


def test_the_reason_for_a_gap_is_asked_before_it_is_called_lost(known):
    known.take(10)
    known.check(11)
    assert numbers(known.fetch(5, 8, 9, 10)) == [5]
    known.check(11, lost=[["run", 6, 8, 200.0, 300.0, {"feed": 20}]])
    results = known.fetch(8, 9, 10)
    assert losses(results) == [(6, 8, "the agent had to give them up")]


def test_a_gap_that_the_agent_cannot_explain_is_lost_all_the_same(known):
    known.take(10)
    known.check(11)
    known.fetch(8, 9, 10)
    known.check(11)
    assert losses(known.fetch(8, 9, 10)) == [(5, 8, "the agent no longer had them")]


def test_samples_are_counted_once_though_the_agent_adds_to_what_it_told(known):
    known.take(12)
    known.check(13, lost=[["run", 5, 8, 200.0, 300.0, {"feed": 30}]])
    results = known.fetch(8)
    known.fetch(12)
    known.check(13, lost=[["run", 5, 12, 200.0, 400.0, {"feed": 60}]])
    results += known.fetch(12)
    counts = [(lost.first, lost.end, lost.samples) for lost in results if isinstance(lost, Lost)]
    assert counts == [(5, 8, {"feed": 30}), (9, 12, {"feed": 30})]


def test_a_loss_moves_the_stream_on_for_the_journal_too(known):
    known.take(10)
    known.check(11, lost=[["run", 5, 11, 200.0, 300.0, {}]])
    known.fetch(end=11)
    assert known.streams.moved() == [(KEY, 11)]
    assert known.streams.moved() == []


def test_what_died_with_the_agent_is_lost_when_the_next_run_does_not_have_it(known):
    known.take(8)
    known.beat(0, run="next")
    assert known.check(1, run="next") == []
    assert losses(known.check(1, run="next", after=1.0)) == [
        (5, 9, "the agent ended before it could be asked for them")
    ]


def test_what_the_next_run_has_of_an_earlier_one_is_fetched_and_acknowledged(known):
    known.beat(0, run="next")
    known.check(1, run="next", earlier=[("run", 7)])
    assert numbers(known.fetch(5, 6)) == [5, 6]
    known.streams.durable({KEY: 7})
    assert known.ask_one(after=1.0).body["have"] == {"run": 7}


def test_losses_while_nobody_was_there_are_told_by_the_agent(known):
    known.beat(0, run="next")
    lost = [["other", 1, 50, 200.0, 300.0, {"feed": 490}]]
    known.check(1, run="next", lost=lost)
    results = known.check(1, run="next", lost=lost, after=1.0)
    assert losses(results) == [(1, 50, "the agent had to give them up")]


def test_losses_before_we_recorded_are_none_of_ours_but_are_acknowledged(known):
    known.beat(0, run="next")
    lost = [["other", 1, 50, 20.0, 30.0, {"feed": 490}]]
    known.check(1, run="next", lost=lost)
    assert known.check(1, run="next", lost=lost, after=1.0) == []
    assert known.streams.moved() == [((A, "other"), 50)]
    known.streams.durable({(A, "other"): 50})
    assert known.ask_one(after=1.0).body["have"]["other"] == 50


def test_an_agent_that_is_there_but_never_answers_loses_its_gap_in_the_end(known):
    known.take(8)
    lost = []
    while not lost:
        known.beat(8)
        known.streams.tick(known.now)
        for request in known.ask(after=1.0):
            lost += known.streams.failed(request, "not allowed")
        assert known.now < 1000 + GIVE_UP + 60
    assert known.now >= 1000 + GIVE_UP
    assert losses(lost) == [(5, 9, "the agent could not be asked for them: not allowed")]
    assert known.take(9)


def test_an_agent_that_is_away_loses_nothing(known):
    known.take(8)
    for _ in range(int(2 * GIVE_UP)):
        assert [lost for request in known.ask(after=1.0) for lost in known.streams.failed(request, "gone")] == []


# Nobody vouches for what is answered


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [],
        "text",
        {},
        {"run": "other", "messages": [], "next": 9},
        {"run": "run", "messages": None, "next": 9},
        {"run": "run", "messages": [], "next": 4},
        {"run": "run", "messages": [], "next": "9"},
        {"run": "run", "messages": [[6, 1.0, b""], [5, 1.0, b""]], "next": 9},
        {"run": "run", "messages": [[5, 1.0, b""], [5, 1.0, b""]], "next": 9},
        {"run": "run", "messages": [[4, 1.0, b""]], "next": 9},
        {"run": "run", "messages": [[9, 1.0, b""]], "next": 9},
        {"run": "run", "messages": [[5, 1.0, "text"]], "next": 9},
        {"run": "run", "messages": [[5, 1.0]], "next": 9},
        {"run": "run", "messages": [5], "next": 9},
    ],
)
def test_a_fetch_answered_with_nonsense_is_made_again(known, reply):
    known.take(8)
    known.check(9)
    assert known.streams.answered(known.ask_one(), reply) == []
    [(agent, why)] = known.streams.troubles()
    assert agent == A
    assert "\n" not in why
    assert known.streams.positions == {KEY: 5}
    assert known.ask_one(after=0.25).body["from"] == 5


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
)
CHECK = st.fixed_dictionaries(
    {},
    optional={
        "session_id": JUNK | st.sampled_from(["run", "old"]),
        "runs": JUNK
        | st.dictionaries(
            st.sampled_from(["run", "old"]) | st.text(max_size=3), JUNK | st.lists(JUNK, min_size=2, max_size=2)
        ),
        "lost": JUNK
        | st.lists(st.tuples(st.sampled_from(["run", "old"]) | JUNK, JUNK, JUNK, JUNK, JUNK, JUNK).map(list)),
        "run": JUNK | st.just("run"),
        "messages": JUNK | st.lists(st.tuples(JUNK | st.integers(1, 20), JUNK, JUNK).map(list)),
        "next": JUNK | st.integers(1, 20),
    },
)


@given(replies=st.lists(CHECK | JUNK, max_size=8))
def test_no_answer_whatever_it_is_breaks_anything_or_moves_a_stream_back(replies):
    bench = Bench({KEY: 5})
    bench.take(8)
    for reply in replies:
        for request in bench.ask(after=11.0):
            before = bench.streams.positions.get(KEY, 0)
            bench.streams.answered(request, reply)
            assert bench.streams.positions.get(KEY, 5) >= before
    assert len(bench.ask(after=11.0)) <= 2


@given(
    feed=st.dictionaries(
        st.sampled_from(["agent_address", "session_id", "seq", "last_seq"]), JUNK | st.sampled_from([A, "run"])
    )
)
def test_no_event_and_no_heartbeat_breaks_anything(feed):
    bench = Bench({KEY: 5})
    assert bench.streams.accept(feed, room=True) in {True, False}
    bench.streams.heartbeat(feed, 1000.0)


def test_a_number_that_nobody_gave_out_does_not_keep_a_stream_behind(known):
    known.take(8)
    known.check(9)
    known.take(1_000_000)
    known.fetch(5, 6, 7, 8)
    known.fetch(end=9)
    known.check(9, after=0.25)
    assert known.streams.behind == 0
    assert known.streams.lost_messages == 0
    assert known.take(9)


def test_a_number_that_came_while_the_agent_was_being_asked_counts(known):
    known.beat(4)
    request = known.ask_one()
    known.take(7)
    known.streams.answered(request, {"session_id": "run", "runs": {"run": [1, 5]}, "lost": []})
    assert known.streams.behind == 1


def test_an_agent_that_has_given_out_less_than_it_gave_us_is_complained_about(known):
    known.beat(4)
    known.check(5)
    known.take(5)
    known.streams.durable({KEY: 6})
    known.check(5, after=1.0)
    known.check(2, after=QUIET)
    assert known.streams.troubles()
    assert known.streams.positions == {KEY: 6}


# Bounds


def test_what_is_remembered_is_bounded_and_who_is_there_stays(monkeypatch):
    monkeypatch.setattr("ocs.agents.aggregator.roll.MAX_STREAMS", 3)
    bench = Bench({("observatory.old", "1"): 9, ("observatory.older", "1"): 9})
    bench.beat(0)
    assert bench.take(1, agent="observatory.b")
    assert bench.streams.forgotten() == [("observatory.old", "1")]
    assert KEY in bench.streams.positions or bench.take(1)


def test_where_there_is_no_room_for_another_stream_its_messages_are_taken_as_they_come(monkeypatch):
    monkeypatch.setattr("ocs.agents.aggregator.roll.MAX_STREAMS", 1)
    bench = Bench()
    bench.beat(0)
    assert bench.take(7, agent="observatory.b")
    assert not bench.take(7, agent="observatory.b", room=False)


def test_runs_of_which_the_agent_does_not_speak_any_more_are_forgotten_but_for_the_last(known):
    for number in range(8):
        run = f"r{number}"
        known.take(1, run=run)
        known.streams.durable({(A, run): 2})
    known.beat(1, run="r7")
    known.check(2, run="r7")
    assert known.streams.forgotten() == [KEY, (A, "r0"), (A, "r1"), (A, "r2")]
    assert len(known.streams.positions) == 5


def test_positions_that_belong_to_nobody_who_can_be_called_are_left_out():
    assert Bench({("elsewhere.a", "1"): 5}).streams.positions == {}


def test_all_agents_are_told_when_a_recorder_leaves(known):
    assert known.streams.farewells() == [(A, {"recorder": "me", "leave": True})]


def test_an_address_of_any_length_is_looked_at_in_no_time(bench):
    assert not Roll("observatory", None, {}).is_callable("observatory" + ".a" * 100_000)
