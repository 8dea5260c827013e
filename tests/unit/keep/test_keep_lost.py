"""What was given up: few ranges, from which nothing is missing."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ocs.keep.lost import MOST_RANGES, LostRanges


def entered(numbers):
    lost = LostRanges()
    for number in numbers:
        lost.add(number, 1000.0 + number, "temps", 3)
    return lost


def test_numbers_in_a_row_are_one_range():
    assert entered([5, 6, 7]).encoded() == [[5, 8, 1005.0, 1007.0, {"temps": 9}]]


def test_samples_are_counted_per_feed():
    lost = entered([1])
    lost.add(2, 999.0, "other", 5)
    assert lost.encoded() == [[1, 3, 999.0, 1001.0, {"temps": 3, "other": 5}]]


def test_what_recorders_have_gone_past_is_forgotten():
    lost = entered([1, 2, 5, 6])
    lost.pass_over(3)
    assert [item[:2] for item in lost.encoded()] == [[5, 7]]
    lost.pass_over(6)
    assert len(lost) == 1
    lost.pass_over(7)
    assert len(lost) == 0


@given(st.sets(st.integers(1, 2000), max_size=500))
def test_however_much_is_lost_the_ranges_are_few_and_lack_nothing(numbers):
    lost = entered(sorted(numbers))
    assert len(lost) <= MOST_RANGES
    ranges = lost.encoded()
    assert all(any(first <= number < end for first, end, *_ in ranges) for number in numbers)
    assert all(left[1] < right[0] for left, right in pairwise(ranges))
    assert sum(samples["temps"] for *_, samples in ranges) == 3 * len(numbers)


@given(st.sets(st.integers(1, 300), max_size=50))
def test_it_comes_back_from_a_file_as_it_was(numbers):
    ranges = entered(sorted(numbers)).encoded()
    assert LostRanges(json.loads(json.dumps(ranges))).encoded() == ranges
