from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.aggregator.names import MAX_NAME, block_name, field_names, unique_name
from ocs.feeds.names import verify_data_field_string

ANYTHING = st.one_of(st.text(max_size=300), st.integers(), st.none(), st.booleans(), st.binary(), st.floats())


@given(st.lists(ANYTHING, max_size=12))
def test_any_names_become_legal_and_different_ones(names):
    result = field_names(names)

    assert len(set(result)) == len(names)
    assert all(verify_data_field_string(name) for name in result)


def test_a_legal_name_keeps_it_whatever_the_others_become():
    assert field_names(["a b", "a_b", "9a_b"]) == ("a_b_01", "a_b", "a_b_02")


def test_underscores_that_are_taken_give_way_to_a_legal_name():
    assert field_names([" ", "_", "  ", "__"]) == ("invalid_field", "_", "invalid_field_01", "__")


def test_a_number_is_appended_to_a_name_that_is_taken():
    assert unique_name("x", {"x", "x_01"}) == "x_02"


def test_a_longest_name_gives_way_to_its_number():
    longest = "a" * MAX_NAME

    assert unique_name(longest, {longest}) == "a" * (MAX_NAME - 3) + "_01"


def test_an_integer_too_long_to_print_is_no_reason_to_fail():
    assert block_name(10**5000) == "int"


def test_a_megabyte_of_control_characters_becomes_a_short_printable_block_name():
    assert block_name("\n" * 1_000_000) == "_" * MAX_NAME
