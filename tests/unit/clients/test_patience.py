"""How a wait goes on: its slices, its end, what it makes of outages and of other sessions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.clients.call_errors import CONNECTION_ERROR, REQUEST_ERROR, own_error
from ocs.clients.patience import ABSENCE, OUTAGE, SLICE, Patience
from tests.harness.bridge import session

NO_ROUTER = own_error(CONNECTION_ERROR, "no router")
NO_AGENT = own_error("wamp.error.no_such_procedure", "no agent")
BRIDGE_NOT_READY = own_error(REQUEST_ERROR, "HTTP 500", http_status=500)
LIVE = [1, "wait timed out", session()]
DONE = [0, "SUCCEEDED", session(status="done", success=True)]


def test_an_endless_wait_is_made_of_slices():
    patience = Patience(None, 0)
    assert patience.slice(0) < 0, "the first call only asks which session it is"
    assert patience.judge(LIVE, 0) is None
    assert [patience.slice(t) for t in (0, 1000, 1e6)] == [SLICE] * 3
    assert patience.judge(LIVE, 1e6) is None
    assert patience.judge(DONE, 1e6) == DONE


@given(st.floats(0, 1e4), st.floats(0, 1e4))
def test_slices_never_go_beyond_the_end(timeout, passed):
    assert 0 <= Patience(timeout, 0, session()).slice(passed) <= min(SLICE, max(0, timeout - passed))


def test_a_wait_that_is_over_returns_the_timeout():
    patience = Patience(30, 0)
    assert patience.judge(LIVE, 25) is None
    assert patience.slice(25) == 5
    assert patience.judge(LIVE, 30) == LIVE


def test_a_negative_timeout_asks_once():
    patience = Patience(-1, 0)
    assert patience.slice(0) < 0
    assert patience.judge(LIVE, 0) == LIVE


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ([1, "", session(number=2)], "session 2 has begun"),
        ([0, "", session(number=2, status="done")], "session 2 has begun"),
        ([1, "", session(start_time=5.0)], "session 1 has begun"),
        ([0, "never ran", {}], "the agent has been restarted"),
    ],
)
def test_another_session_than_the_one_waited_for_is_an_error(reply, words):
    patience = Patience(None, 0)
    patience.judge(LIVE, 0)
    code, message, current = patience.judge(reply, 1)
    assert (code, current) == (-1, reply[2])
    assert "Session 1 has ended" in message
    assert words in message


def test_the_session_that_was_started_is_waited_for_from_the_first_call():
    patience = Patience(None, 0, session())
    assert patience.slice(0) == SLICE
    assert patience.delay(NO_ROUTER, 0) is not None
    assert patience.judge([1, "", session(number=2)], 1)[0] == -1


def test_an_agents_error_is_passed_on():
    patience = Patience(None, 0)
    patience.judge(LIVE, 0)
    assert patience.judge([-1, "too few privileges", {}], 1) == [-1, "too few privileges", {}]


@pytest.mark.parametrize(("error", "limit"), [(NO_ROUTER, OUTAGE), (BRIDGE_NOT_READY, OUTAGE), (NO_AGENT, ABSENCE)])
def test_an_outage_is_sat_out_up_to_a_limit(error, limit):
    patience = Patience(None, 0)
    patience.judge(LIVE, 0)
    now, attempts = 0.0, 0
    while (delay := patience.delay(error, now)) is not None:
        assert 0 < delay <= 2
        now, attempts = now + delay, attempts + 1
    assert limit <= now < limit + 5
    assert attempts < 60


def test_every_outage_is_counted_from_its_own_beginning():
    patience = Patience(None, 0)
    for start in (0, 50, 100, 150):
        patience.judge(LIVE, start)
        assert patience.delay(NO_ROUTER, start + 40) is not None


def test_a_wait_that_never_began_or_is_over_does_not_sit_out_anything():
    assert Patience(None, 0).delay(NO_ROUTER, 0) is None
    patience = Patience(30, 0)
    patience.judge(LIVE, 1)
    assert patience.delay(NO_ROUTER, 31) is None


def test_the_agent_gets_its_own_time_once_the_router_is_back():
    patience = Patience(None, 0)
    patience.judge(LIVE, 0)
    assert patience.delay(NO_ROUTER, 1) is not None
    assert patience.delay(NO_AGENT, 50) is not None
    assert patience.delay(NO_AGENT, 50 + ABSENCE - 1) is not None
    assert patience.delay(NO_AGENT, 50 + ABSENCE) is None


def test_an_error_that_no_restart_explains_ends_the_wait():
    patience = Patience(None, 0)
    patience.judge(LIVE, 0)
    assert patience.delay(own_error("wamp.error.not_authorized", ""), 1) is None
    assert patience.delay(own_error(REQUEST_ERROR, "", http_status=404), 1) is None
