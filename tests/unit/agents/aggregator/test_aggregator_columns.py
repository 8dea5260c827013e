import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.aggregator.columns import TICKS_PER_SECOND, as_ticks, as_times, split_kinds

SAMPLES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
)


@given(st.lists(SAMPLES, max_size=20))
def test_every_usable_value_is_kept_once_and_the_rest_named(values):
    columns, unusable = split_kinds(values)

    rows = sorted(
        [row for column in columns for row in (range(len(values)) if column.rows is None else column.rows)] + unusable
    )
    assert rows == list(range(len(values)))
    for column in columns:
        chosen = values if column.rows is None else [values[row] for row in column.rows]
        for given_value, kept in zip(chosen, column.values, strict=True):
            assert _same(given_value, kept)


def _same(given_value, kept):
    if isinstance(given_value, str):
        return kept == given_value.encode("utf-8", "replace").decode()
    return (math.isnan(given_value) and math.isnan(kept)) or float(given_value) == pytest.approx(float(kept))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"),
        ([1, 2.5], "float64"),
        ([True, False], "bool"),
        ([True, 2], "int64"),
        ([True, 0.5], "float64"),
        ([1, 2**63], "float64"),
        ([1, 2**70, True], "float64"),
        ([float("nan"), float("inf")], "float64"),
        ([-(2**63), 2**63 - 1], "int64"),
    ],
)
def test_numbers_get_the_narrowest_type_that_holds_them(values, dtype):
    (column,), unusable = split_kinds(values)

    assert column.values.dtype == dtype
    np.testing.assert_array_equal(column.values, np.array(values, dtype=dtype))
    assert not unusable


def test_numbers_and_texts_are_parted_the_first_kind_first():
    (numbers, texts), unusable = split_kinds([1.5, "x", None, 2.5, [3]])

    assert numbers.values.tolist() == [1.5, 2.5]
    assert numbers.rows.tolist() == [0, 3]
    assert texts.values == ["x"]
    assert unusable == [2, 4]


def test_an_integer_beyond_any_float_is_of_no_use():
    (column,), unusable = split_kinds([1, 10**400])

    assert column.values.tolist() == [1]
    assert unusable == [1]


def test_half_a_surrogate_pair_is_replaced():
    (column,), _ = split_kinds(["a\ud800", "b"])

    assert column.values == ["a?", "b"]


def test_a_megabyte_text_among_numbers_costs_no_more_than_itself():
    big = "x" * 1_000_000
    (numbers, texts), _ = split_kinds([1.0] * 100_000 + [big])

    assert len(numbers.values) == 100_000
    assert texts.values == [big]


def test_numpy_values_are_taken_as_plain_ones():
    (column,), _ = split_kinds([np.float32(0.5), np.int16(3)])

    assert column.values.tolist() == [0.5, 3.0]


@given(st.lists(st.floats(min_value=0, max_value=4e9), max_size=10))
def test_times_are_exact_to_ten_nanoseconds(times):
    ticks, rows, _ = as_ticks(times)

    assert rows is None
    for tick, when in zip(ticks.tolist(), times, strict=True):
        assert abs(tick - round(when * 10**8)) <= 1 or abs(tick / TICKS_PER_SECOND - when) < 3e-7
    np.testing.assert_allclose(as_times(ticks), times, rtol=0, atol=5.1e-9 + 2.4e-7)


def test_a_unix_time_of_today_survives_the_way_there_and_back():
    times = [1_790_000_000.0 + i / 7 for i in range(1000)]

    assert as_times(as_ticks(times)[0]).tolist() == times


@pytest.mark.parametrize("bad", [None, "12", float("nan"), float("inf"), 10**400, 1e30, True, [1]])
def test_a_timestamp_that_is_none_costs_its_own_row_only(bad):
    ticks, rows, named = as_ticks([1.0, bad, 3])

    assert ticks.tolist() == [TICKS_PER_SECOND, 3 * TICKS_PER_SECOND]
    assert rows.tolist() == [0, 2]
    assert named
