"""Replies: the report for people, the checks for scripts."""

import pytest

import ocs
from ocs.clients.reply import OCSReply, check_reply, describe_reply
from ocs.errors import OperationError, OperationFailedError, OperationTimeoutError, RequestFailedError
from tests.harness.bridge import session

DONE = {"status": "done", "op_code": 5, "success": True, "start_time": 1000.0, "end_time": 1090.0}


def report(status=0, msg="Fine.", now=2000.0, **changes):
    return describe_reply(OCSReply(status, msg, session(**changes)), now)


def test_a_reply_is_a_tuple_of_three():
    status, msg, data = OCSReply(0, "m", {})
    assert (status, msg, data) == (ocs.OK, "m", {})
    assert OCSReply._fields == ("status", "msg", "session")


@pytest.mark.parametrize(("status", "name"), [(0, "OK"), (-1, "ERROR"), (1, "TIMEOUT"), (7, "7")])
def test_the_first_line_has_code_and_message(status, name):
    assert report(status, "So it is.").splitlines()[0] == f"OCSReply: {name} - So it is."


def test_a_running_session_tells_for_how_long():
    assert "count, session 1: running for 16 min 39 s, since 1970-01-01 00:16:41 UTC" in report()


def test_a_degraded_session_says_so():
    assert "DEGRADED" in report(degraded=True)


def test_an_ended_session_tells_how_when_and_after_what():
    text = report(now=1100.0, **DONE)
    assert "succeeded 10.0 s ago, at 1970-01-01 00:18:10 UTC, after 1 min 30 s" in text
    assert "FAILED" in report(now=1100.0, **{**DONE, "success": False, "op_code": 6})


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (0.01234, "0.0123 s"),
        (59.94, "59.9 s"),
        (3600 * 5 + 60 * 7, "5 h 7 min"),
        (86400 * 3 + 7200, "3 d 2 h"),
        (-5, "0 s"),
    ],
)
def test_ages_are_readable(age, text):
    assert f"running for {text}" in report(now=1001.0 + age)


def test_only_the_last_messages_are_shown():
    text = report(messages=[[1000.0 + i, f"message {i}"] for i in range(12)])
    assert "last 5 of 12 messages" in text
    assert "message 6" not in text
    assert "00:16:51.000  message 11" in text


def test_data_is_named_not_poured_out():
    assert "session['data'] has: a, b" in report(data={"a": 1, "b": 2})


def test_a_reply_without_session_says_so():
    assert "no session" in repr(OCSReply(0, "m", {}))


def test_sparse_sessions_of_older_agents_can_be_shown():
    assert "no_history" in describe_reply(OCSReply(0, "m", {"op_name": "x", "status": "no_history"}), 0)


def check(reply, *, outcome=True):
    check_reply(reply, "fake-1", "count", "start", outcome=outcome)


def test_a_refused_request_raises_with_what_the_agent_says():
    reply = OCSReply(-1, "already in progress", session())
    with pytest.raises(RequestFailedError, match="fake-1: cannot start count: already in progress") as caught:
        check(reply)
    assert (caught.value.reply, caught.value.op_name, caught.value.instance_id) == (reply, "count", "fake-1")


def test_a_timeout_raises_a_timeout_error():
    with pytest.raises(TimeoutError):
        check(OCSReply(1, "wait timed out", session()))
    assert issubclass(OperationTimeoutError, OperationError)


def test_a_failed_operation_raises_with_its_last_words():
    messages = [[1.0, "CRASH: no\n  helium"], [2.0, 'Status is now "done".']]
    reply = OCSReply(0, "not running (FAILED)", session(success=False, status="done", messages=messages))
    with pytest.raises(OperationFailedError, match="fake-1: count failed: CRASH: no helium"):
        check(reply)
    check(reply, outcome=False)


@pytest.mark.parametrize("data", [{}, session(), session(success=True)])
def test_nothing_wrong_raises_nothing(data):
    check(OCSReply(0, "", data))
