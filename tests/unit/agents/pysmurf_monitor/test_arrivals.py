"""What the journal keeps of a datagram."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.pysmurf_monitor.arrivals import Arrival, pack_arrival, unpack_arrival

HOSTS = st.one_of(st.ip_addresses().map(str), st.text(st.characters(max_codepoint=127), max_size=255))


@given(st.floats(allow_nan=False), HOSTS, st.integers(0, 65535), st.binary(max_size=3000))
def test_what_is_packed_is_unpacked(time, host, port, data):
    assert unpack_arrival(pack_arrival(time, host, port, data)) == Arrival(time, host, port, data)


@given(st.binary(max_size=40))
def test_other_bytes_are_an_arrival_or_a_value_error(body):
    try:
        arrival = unpack_arrival(body)
    except ValueError:
        return
    assert len(body) == 11 + len(arrival.host) + len(arrival.data)


@pytest.mark.parametrize("length", range(11 + len("127.0.0.1")))
def test_a_body_without_its_whole_head_is_refused(length):
    with pytest.raises(ValueError, match="not an arrival"):
        unpack_arrival(pack_arrival(1.0, "127.0.0.1", 4, b"")[:length])
