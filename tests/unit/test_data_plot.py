"""Pictures: what is left out of a line with very many points, and where it is interrupted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.cli.data_plot import broken, draw, envelope
from ocs.errors import RecordingError
from ocs.hk import FieldData, Gap

FEED = "o.a.feeds.b"


@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=300), st.integers(1, 20))
def test_a_line_of_fewer_points_has_the_same_ends_and_extremes(values, bins):
    given_times, given_values = np.arange(len(values), dtype=float), np.array(values)
    times, kept = envelope(given_times, given_values, bins)

    assert len(times) == len(kept) <= max(4 * bins, 2 * bins + 2)
    assert (times[0], times[-1]) == (0, len(values) - 1)
    assert np.all(np.diff(times) > 0)
    np.testing.assert_array_equal(given_values[times.astype(int)], kept)
    if not np.isnan(given_values).all():
        assert (np.nanmin(kept), np.nanmax(kept)) == (np.nanmin(given_values), np.nanmax(given_values))


def test_a_line_is_interrupted_where_a_gap_begins():
    times, values = broken(np.array([1.0, 2.0, 8.0, 9.0]), np.array([1.0, 2.0, 8.0, 9.0]), np.array([0.0, 2.0, 9.0]))

    assert times.tolist() == [1, 2, 2, 8, 9]
    assert [math.isnan(value) for value in values] == [False, False, True, False, False]


def field(count, kind=float):
    return FieldData(1.79e9 + np.arange(count, dtype=float), np.arange(count).astype(kind))


def test_many_fields_gaps_and_odd_names_are_drawn(tmp_path):
    data = {f"{FEED}.field$_{n}": field(20, kind) for n, kind in enumerate([float, int, bool] * 6)}
    gaps = [Gap(FEED, 1.79e9 + 3, 1.79e9 + 5, "lost", 3), Gap(FEED, math.nan, math.nan, "lost")]
    draw(data | {f"{FEED}.text": FieldData(np.zeros(1), np.array(["x"]))}, gaps, tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()

    assert "and 7 more" in text
    assert "<!-- lost -->" in text


def test_one_sample_can_be_drawn(tmp_path):
    draw({f"{FEED}.x": field(1)}, [], tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_too_many_feeds_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="fields of 20 feeds; at most 12"):
        draw({f"o.a.feeds.b{n}.x": field(3) for n in range(20)}, [], tmp_path / "x.png")
