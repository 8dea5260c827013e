"""Calls that no client would make, of a real agent: each is answered, and the agent stays where it is."""

import pytest

from tests.hostile.raw_wamp import ERROR, RESULT, RawSession

ADDRESS = "observatory.fake-1"


@pytest.fixture
def session(router, site, run_agent):
    site.add_instance("FakeDataAgent", "fake-1", ["--mode", "idle"])
    agent = run_agent("fake-1")
    with RawSession(router) as joined:
        yield joined
        assert joined.call(ADDRESS, "get_api")[0] == RESULT
    assert "Traceback" not in agent.output
    assert agent.output.count("joined") == 1, "it has lost the router"


@pytest.mark.parametrize("name", ["self", "fun", "f", "call_details", "action", "op_name", "timeout", "x"])
@pytest.mark.parametrize("procedure", [ADDRESS, f"{ADDRESS}.ops", f"{ADDRESS}.replay"])
def test_any_name_of_an_argument_is_answered(session, procedure, name):
    answer = session.call(procedure, "status", "acq", **{name: 1})
    assert answer[0] in (RESULT, ERROR)


def test_what_is_given_twice_is_told(session):
    answer = session.call(f"{ADDRESS}.ops", "status", "acq", op_name="acq")
    assert answer[3][0][:2] == [-1, "Given twice: op_name."]


def test_too_many_arguments_are_told(session):
    answer = session.call(f"{ADDRESS}.ops", *range(9))
    assert answer[3][0][1].startswith("9 arguments; there are 5: action, op_name")
