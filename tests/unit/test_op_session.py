"""The life of a session, its messages and what clients see of it."""

import json
import math
import threading
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.base import OpCode
from ocs.op_session import SESSION_STATUS_CODES, OpSession, StatusError
from ocs.plain import NotSendableError
from tests.harness.fakes import Log

STATUSES = [status for status in SESSION_STATUS_CODES if status]
statuses = st.sampled_from(STATUSES)


def rank(status):
    return STATUSES.index(status)


def session(**keywords):
    return OpSession(1, "acq", **keywords)


def texts(one):
    return [text for _, text in one.messages]


@given(st.lists(statuses))
def test_a_session_never_goes_back(moves):
    one = session()
    for move in moves:
        before = one.status
        try:
            one.set_status(move)
        except StatusError:
            assert rank(move) < rank(before)
        assert rank(one.status) >= rank(before)
        assert one.status in (before, move)


@given(st.lists(statuses))
def test_every_change_is_one_message(moves):
    one, expected = session(), ["starting"]
    for move in moves:
        try:
            one.set_status(move)
        except StatusError:
            continue
        if one.status != expected[-1]:
            expected.append(one.status)
    assert texts(one) == [f'Status is now "{status}".' for status in expected]


@given(statuses, st.booleans(), st.booleans())
def test_the_op_code_tells_the_state(status, degraded, success):
    one = session()
    one.degraded, one.success = degraded, success
    one.set_status(status)
    expected = {
        "starting": OpCode.STARTING,
        "running": OpCode.DEGRADED if degraded else OpCode.RUNNING,
        "stopping": OpCode.STOPPING,
        "done": OpCode.SUCCEEDED if success else OpCode.FAILED,
    }
    assert one.op_code == expected[status] == one.encoded()["op_code"]


@pytest.mark.parametrize(("now", "late"), [("stopping", "running"), ("done", "stopping")])
def test_a_move_that_was_overtaken_is_ignored(now, late):
    one = session()
    one.set_status(now)
    messages = list(one.messages)
    one.set_status(late)
    assert one.status == now
    assert one.messages == messages


@pytest.mark.parametrize(
    ("now", "back"), [("running", "starting"), ("stopping", "starting"), ("done", "starting"), ("done", "running")]
)
def test_another_move_back_is_an_error_that_names_both(now, back):
    one = session()
    one.set_status(now)
    with pytest.raises(StatusError, match=f"'{now}'.*'{back}'"):
        one.set_status(back)


def test_an_unknown_status_is_an_error():
    with pytest.raises(ValueError, match="asleep"):
        session().set_status("asleep")


def test_start_and_end_are_the_moments_of_the_moves():
    one = session()
    assert one.end_time is None
    one.set_status("done", timestamp=one.start_time + 5)
    assert one.end_time == one.start_time + 5
    assert one.messages[0] == (one.start_time, 'Status is now "starting".')


def test_the_session_of_a_mock_agent_works_without_a_reactor():
    one = OpSession(1, "acq", app=Mock())
    one.set_status("running")
    one.add_message("hello")
    assert one.encoded()["messages"][-1][1] == "hello"


def test_a_quiet_session_keeps_to_itself_unless_it_fails():
    app = Mock(log=Log())
    OpSession(7, "acq", app=app, quiet=True).finish(success=True, message="all well")
    assert app.log.of("info") == []
    OpSession(8, "acq", app=app, quiet=True).finish(success=False, message="no water")
    assert app.log.of("info")[0] == "acq:8 no water"


def test_messages_are_logged_by_the_agent():
    app = Mock()
    app.log = Log()
    OpSession(7, "acq", app=app).add_message("with {braces}")
    assert app.log.of("info")[-1] == "acq:7 with {braces}"


def test_the_encoded_session_is_the_map_of_the_protocol():
    encoded = OpSession(3, "acq", cred_level=2).encoded()
    assert encoded == {
        "session_id": 3,
        "op_name": "acq",
        "op_code": 2,
        "cred_level": 2,
        "status": "starting",
        "degraded": False,
        "success": None,
        "start_time": encoded["start_time"],
        "end_time": None,
        "data": {},
        "messages": [(encoded["start_time"], 'Status is now "starting".')],
    }


def test_messages_older_than_an_hour_go_but_five_stay():
    one = session()
    for number in range(10):
        one.add_message(f"old {number}", timestamp=one.start_time - 4000)
    one.purge_log()
    assert texts(one)[-5:] == [f"old {number}" for number in range(5, 10)]
    # What came before a message that stays, stays.
    one.messages.clear()
    for number in range(10):
        one.add_message(f"old {number}", timestamp=one.start_time - 4000)
    assert texts(one) == [f"old {number}" for number in range(5, 10)]


def test_young_messages_stay_up_to_ten_thousand():
    one = session()
    for number in range(10_010):
        one.add_message(str(number))
    assert len(one.messages) == 10_000
    assert one.messages[-1][1] == "10009"


@given(st.integers(0, 20), st.integers(1, 20), st.lists(st.floats(-10_000, 0), max_size=40))
def test_the_purge_policy_holds_for_any_messages(least, most, ages):
    one = session(purge_policy={"min_age_s": 100, "min_messages": least, "max_messages": most})
    now = one.start_time
    for age in sorted(ages):
        one.add_message("x", timestamp=now + age)
    total = len(ages) + 1
    young = sum(age > -99 for age in ages)
    assert len(one.messages) <= most
    assert len(one.messages) >= min(most, max(min(least, total), young))


def test_a_message_is_text_that_can_be_sent():
    one = session()
    one.add_message(ValueError("wrong"))
    one.add_message("file-\udcff")
    assert texts(one)[-2:] == ["wrong", "file-?"]


def test_data_becomes_plain():
    one = session()
    one.data = {"a": np.arange(3), "b": np.float32(0.5), "c": math.nan, "d": None}
    assert one.encoded()["data"] == {"a": [0, 1, 2], "b": 0.5, "c": None, "d": None}


def test_data_that_cannot_be_sent_is_an_error_that_names_it():
    one = session()
    one.data = {"level": math.inf}
    with pytest.raises(NotSendableError, match=r"session\.data\['level'\]"):
        one.encoded()


class Spiteful:
    dtype = "spite"

    def tolist(self):
        raise OSError("no")


@pytest.mark.parametrize(
    "data", [{"x": math.inf}, {"x": object()}, {"x": b"\xff"}, object(), {"x": Spiteful()}, {"x": "\ud800"}, [2**70]]
)
def test_bad_data_is_shown_as_null_and_said_once(data):
    one = session()
    one.data = data
    for _ in range(3):
        json.dumps(one.encoded_for_client(), allow_nan=False)
    assert len([text for text in texts(one) if "session.data" in text]) == 1


def test_data_that_is_too_large_for_a_reply_is_left_out():
    one = session()
    one.data = {"image": np.zeros(2_000_000), "value": 1}
    shown = one.encoded_for_client()
    assert shown["data"] == {"image": None, "value": 1}
    assert "session.data['image']" in shown["messages"][-1][1]


def test_ever_new_bad_data_does_not_fill_the_messages():
    one = session()
    for number in range(1000):
        one.data = {f"x{number}": object()}
        one.encoded_for_client()
    assert len(one.messages) < 110


def test_those_who_wait_are_told_once():
    one, told = session(), []
    one.call_when_done(told.append)
    forget = one.call_when_done(lambda _: told.append("forgotten"))
    forget()
    one.finish(True, "fine")
    one.finish(False, "again")
    assert told == [one]
    assert one.success is True
    assert one._when_done == []


def test_who_asks_after_the_end_is_told_at_once():
    one, told = session(), []
    one.finish(False, "")
    one.call_when_done(told.append)
    assert told == [one]


def test_only_one_gets_to_stop_it_unless_it_was_refused():
    one = session()
    assert one.claim_end()
    assert one.ending
    assert not one.claim_end()
    one.release_end()
    assert one.claim_end()


def test_sessions_may_be_used_from_many_threads():
    one, failures = session(), []

    def work():
        try:
            for number in range(300):
                one.add_message(str(number))
                one.set_status("running")
                one.data = {str(number): number}
                one.encoded()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(one.messages) == 2 + 8 * 300
