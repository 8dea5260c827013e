"""What a component says of itself, as others read it."""

import pytest

from ocs.components.description import Description
from ocs.components.names import ComponentId, Prefix

PRIMARY = ComponentId(Prefix("ESW", "primary"), "SequenceComponent")
URI = "observatory.components.SequenceComponent.ESW.primary"


def test_a_location_has_connection_uri_and_metadata():
    assert Description(PRIMARY, URI, {"pid": 3}).location() == {
        "_type": "WampLocation",
        "connection": {"prefix": "ESW.primary", "componentType": "SequenceComponent", "connectionType": "wamp"},
        "uri": URI,
        "metadata": {"pid": 3},
    }


def test_it_says_in_words_where_it_is():
    metadata = {"host": "machine1", "pid": 3, "agentPrefix": "ESW.machine1"}
    assert Description(PRIMARY, URI, metadata).where() == "on machine1, process 3, started by ESW.machine1"


def test_one_that_says_nothing_of_itself_is_at_its_procedure():
    assert Description(PRIMARY, URI).where() == URI


@pytest.mark.parametrize("word", [None, 7, "", "nonsense", [], {}])
def test_a_prefix_that_is_none_is_none(word):
    assert Description(PRIMARY, URI, {"agentPrefix": word}).metadata_prefix("agentPrefix") is None


def test_a_prefix_of_the_metadata_is_read():
    assert Description(PRIMARY, URI, {"agentPrefix": "esw.m"}).metadata_prefix("agentPrefix") == Prefix("ESW", "m")
