import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.aggregator.drivers import Provider
from ocs.agents.aggregator.provider import MAX_FRAME_BYTES
from tests.harness.archive import ADDRESS, message


def make(clock=lambda: 0.0, **changes):
    return Provider(ADDRESS, "1790000000.5", 0, clock=clock, **changes)


def held(provider):
    """Return the samples of every field, sorted by time."""
    found = {}
    for block in provider.blocks.values():
        for field, values in block.data.items():
            found.setdefault(field, []).extend(zip(block.timestamps, values, strict=True))
    return {field: sorted(samples) for field, samples in found.items()}


def test_samples_are_held_by_block_and_field():
    provider = make()
    provider.save_to_block(message([1.0, 2.0], a=[1, 2], b=["x", "y"]))
    provider.save_to_block(message([3.0], a=[3], b=["z"]))

    block = provider.blocks["t"]
    assert block.timestamps == [1.0, 2.0, 3.0]
    assert block.data == {"a": [1, 2, 3], "b": ["x", "y", "z"]}
    assert provider.last_block_received == "t"


def test_changed_fields_start_a_block_of_another_name():
    provider = make()
    provider.save_to_block(message([1.0], a=[1]))
    provider.save_to_block(message([2.0], a=[2], b=[5]))
    provider.save_to_block(message([3.0], a=[3]))

    assert {name: sorted(block.data) for name, block in provider.blocks.items()} == {"t": ["a"], "t_01": ["a", "b"]}
    assert held(provider) == {"a": [(1.0, 1), (2.0, 2), (3.0, 3)], "b": [(2.0, 5)]}


def test_the_order_of_the_fields_makes_no_other_block():
    provider = make()
    provider.save_to_block({"t": {"timestamps": [1.0], "data": {"a": [1], "b": [2]}}})
    provider.save_to_block({"t": {"timestamps": [2.0], "data": {"b": [4], "a": [3]}}})

    assert provider.blocks["t"].data == {"a": [1, 3], "b": [2, 4]}


def test_illegal_names_are_corrected_and_reported():
    faults = []
    provider = make(report=faults.append)
    provider.save_to_block(message([1.0], **{"a b": [1], "a_b": [2], "9!": [3]}))

    assert provider.blocks["t"].data == {"a_b_01": [1], "a_b": [2], "invalid_field": [3]}
    assert [(fault.cause, fault.values) for fault in faults] == [("names", 0)]


def test_a_missing_value_leaves_out_its_field_for_its_sample_only():
    provider = make()
    provider.save_to_block(message([1.0, 2.0, 3.0], a=[1, None, 3], b=[4, 5, 6]))

    assert held(provider) == {"a": [(1.0, 1), (3.0, 3)], "b": [(1.0, 4), (2.0, 5), (3.0, 6)]}


def test_texts_in_a_field_of_numbers_get_a_field_of_their_own():
    provider = make()
    provider.save_to_block(message([1.0, 2.0], a=[1.5, "broken"]))
    provider.save_to_block(message([3.0], a=["still broken"]))

    assert held(provider) == {"a": [(1.0, 1.5)], "a_text": [(2.0, "broken"), (3.0, "still broken")]}


def test_numbers_in_a_field_of_texts_get_a_field_of_their_own():
    provider = make()
    provider.save_to_block(message([1.0], a=["off"]))
    provider.save_to_block(message([2.0], a=[3]))

    assert held(provider) == {"a": [(1.0, "off")], "a_number": [(2.0, 3)]}


def test_a_frame_that_follows_floats_keeps_the_field_a_float():
    provider = make()
    provider.save_to_block(message([1.0], a=[0.5]))
    provider.to_frame(clear=True)
    provider.save_to_block(message([2.0], a=[1]))

    assert type(provider.to_frame()["blocks"][0]["a"]).__name__ == "G3VectorDouble"


def test_integers_and_floats_of_one_frame_are_floats():
    provider = make()
    for i in range(300):  # more than is typed at a time
        provider.save_to_block(message([float(i)], a=[i if i < 200 else i + 0.5]))

    (block,) = provider.to_frame()["blocks"]
    np.testing.assert_array_equal(np.asarray(block["a"]), [i if i < 200 else i + 0.5 for i in range(300)])


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.just([1])
)


@given(st.lists(st.tuples(VALUES, st.floats(allow_nan=False)), min_size=1, max_size=30))
def test_whatever_one_field_does_the_other_field_loses_nothing(rows):
    provider = make()
    for i, (wild, tame) in enumerate(rows):
        provider.save_to_block(message([float(i)], wild=[wild], tame=[tame]))

    assert held(provider)["tame"] == [(float(i), tame) for i, (_, tame) in enumerate(rows)]
    assert "blocks" in provider.to_frame()


def test_a_frame_is_due_frame_length_after_its_first_sample(clock):
    provider = make(clock, frame_length=10)
    clock.advance(100)
    assert not provider.new_frame_time()
    provider.save_to_block(message([1.0], a=[1]))
    clock.advance(9.9)
    assert not provider.new_frame_time()
    clock.advance(0.2)
    assert provider.new_frame_time()


def test_a_frame_is_due_early_when_it_is_large():
    provider = make()
    provider.save_to_block(message([1.0], a=["x" * (MAX_FRAME_BYTES + 1)]))

    assert provider.new_frame_time()


def test_a_provider_is_stale_after_fresh_time_without_data(clock):
    provider = make(clock, fresh_time=5)
    clock.advance(4)
    provider.save_to_block(message([1.0], a=[1]))
    clock.advance(4)
    assert not provider.stale()
    clock.advance(1.1)
    assert provider.stale()
    assert provider.encoded() == {
        "last_refresh": provider.last_refresh,
        "sessid": "1790000000.5",
        "stale": True,
        "last_block_received": "t",
    }


def test_a_cleared_provider_is_empty():
    provider = make()
    assert provider.empty()
    provider.save_to_block(message([1.0], a=[1]))
    assert not provider.empty()
    provider.to_frame(clear=True)
    assert provider.empty()
    assert provider.frame_start_time is None


def test_the_numbers_of_the_messages_held_are_known():
    provider = make()
    assert (provider.first_index, provider.last_index) == (None, None)
    for index in (7, 8, 11):
        provider.save_to_block(message([float(index)], a=[1]), index)
    assert (provider.first_index, provider.last_index) == (7, 11)

    provider.to_frame(clear=True)
    assert (provider.first_index, provider.last_index) == (None, 11)
    provider.save_to_block(message([12.0], a=[1]), index=12)
    assert (provider.first_index, provider.last_index) == (12, 12)


def test_a_message_of_which_nothing_can_be_used_is_taken_in_but_not_held():
    provider = make()
    provider.save_to_block(None, 3)
    assert (provider.first_index, provider.last_index) == (None, 3)
    provider.save_to_block(message([1.0], a=[1]), 4)
    assert (provider.first_index, provider.last_index) == (4, 4)


def test_the_arguments_are_those_of_the_contract():
    provider = Provider("x.feeds.y", "1.0", 3, frame_length=60, fresh_time=10)

    assert (provider.address, provider.sessid, provider.prov_id) == ("x.feeds.y", "1.0", 3)


@pytest.mark.parametrize("data", [None, 5, {"t": None}, {"t": {}}, message([], a=[]), message([1.0])])
def test_a_message_without_samples_leaves_the_provider_empty(data):
    provider = make()
    provider.save_to_block(data)

    assert provider.empty()
