import numpy as np

from ocs.agents.aggregator.schema import MAX_CHARACTERS, FeedSchema


def test_the_same_fields_have_the_same_block_name_again():
    schema = FeedSchema()
    first = schema.layout("t", ("a",))
    second = schema.layout("t", ("a", "b"))

    assert (first.block, second.block) == ("t", "t_01")
    assert schema.layout("t", ("a",)) == first
    assert schema.block("t", frozenset({"b", "a"})) == "t_01"


def test_a_block_published_under_a_derived_name_gets_another():
    schema = FeedSchema()
    schema.layout("t", ("a",))
    schema.layout("t", ("b",))

    assert schema.layout("t_01", ("c",)).block == "t_01_01"


def test_a_layout_says_whether_names_were_corrected():
    schema = FeedSchema()

    assert schema.layout("t", ("a b",)).corrected
    assert not schema.layout("t", ("a_b",)).corrected


def test_a_field_s_type_only_widens():
    schema = FeedSchema()
    types = [schema.widen("a", np.dtype(name)).name for name in ("bool", "int64", "bool", "float64", "int64")]

    assert types == ["bool", "int64", "int64", "float64", "float64"]


def test_the_kind_that_came_first_has_the_name():
    schema = FeedSchema()

    assert schema.field("a", text=True) == "a"
    assert schema.field("a", text=False) == "a_number"
    assert schema.field("b", text=False) == "b"
    assert schema.field("b", text=True) == "b_text"


def test_a_name_in_use_is_not_given_to_the_texts_of_another_field():
    schema = FeedSchema()
    schema.field("a_text", text=False)
    schema.field("a", text=False)

    assert schema.field("a", text=True) == "a_text_01"


def test_a_feed_that_makes_up_names_all_the_time_is_remembered_in_bounded_memory():
    schema = FeedSchema()
    for number in range(50):
        schema.layout("t", (f"{number}" + "x" * 100_000,))
    held = sum(len(field) for _, fields in schema._layouts for field in fields)

    assert held <= MAX_CHARACTERS
