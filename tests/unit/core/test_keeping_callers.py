"""Whose a recorder is at a closed site."""

import pytest
from autobahn.wamp.exception import ApplicationError
from hypothesis import given
from hypothesis import strategies as st

from ocs.core.callers import Caller
from ocs.core.keeping import as_from

ASKED = {"recorder": "abc", "every": 1.0, "have": {}}


def test_at_an_open_site_an_id_is_as_it_came():
    assert as_from(Caller(session=1), ASKED) is ASKED


def test_at_a_closed_site_an_id_is_its_owners():
    first, second = (as_from(Caller(1, name, "agent"), ASKED)["recorder"] for name in ("aggregator", "thief"))
    assert first != second
    assert ASKED["recorder"] == "abc"


@pytest.mark.parametrize("role", ["client", "observer"])
def test_others_than_agents_have_nothing_kept(role):
    with pytest.raises(ApplicationError, match="recorders are agents"):
        as_from(Caller(1, "somebody", role), ASKED)


@given(st.recursive(st.none() | st.text() | st.integers() | st.binary(), st.lists, max_leaves=5))
def test_what_is_no_request_is_left_to_be_refused(anything):
    caller = Caller(1, "aggregator", "agent")
    assert as_from(caller, anything) == anything
    assert as_from(caller, {"leave": anything}) == {"leave": anything}
