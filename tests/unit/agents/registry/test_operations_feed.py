"""The messages on agent_operations."""

from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.registry.operations_feed import block_name, samples
from ocs.feeds.names import verify_data_field_string
from ocs.presence.roster import RegisteredAgent


def test_dots_and_hyphens_become_underscores():
    assert block_name("observatory.fake-data-1", "set_heartbeat") == "observatory_fake_data_1_set_heartbeat"


@given(st.text(), st.text())
def test_every_block_name_is_legal(address, op_name):
    assert verify_data_field_string(block_name(address, op_name))


def test_a_sample_per_operation_with_block_and_field_of_one_name():
    agent = RegisteredAgent({"agent_address": "observatory.a"}, now=0.0)
    agent.refresh({"acq": 3, "init": 5}, now=0.0)
    assert list(samples(agent, 12.5)) == [
        {"block_name": "observatory_a_acq", "timestamp": 12.5, "data": {"observatory_a_acq": 3}},
        {"block_name": "observatory_a_init", "timestamp": 12.5, "data": {"observatory_a_init": 5}},
    ]
