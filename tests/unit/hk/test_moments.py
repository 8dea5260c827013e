from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.hk.moments import MomentError, seconds_of, span_of, timestamp_of

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (5, 5.0),
        (1.5, 1.5),
        ("1790000000.25", 1_790_000_000.25),
        ("1970-01-02", 86400.0),
        ("1970-01-01T00:01", 60.0),
        ("1970-01-01 00:00:01.5", 1.5),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01T00:00:00Z", 0.0),
        (datetime(1970, 1, 2), 86400.0),  # noqa: DTZ001 - as people do
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0.0),
        ("now", NOW),
        ("-1h", NOW - 3600),
        ("-90 s", NOW - 90),
        (" -1.5d ", NOW - 129600),
        ("-2w", NOW - 1209600),
        ("-10min", NOW - 600),
        ("-5", -5.0),
    ],
)
def test_a_moment_may_be_given_in_many_ways(moment, seconds):
    assert timestamp_of(moment, lambda: NOW) == seconds


@pytest.mark.parametrize("moment", ["", "soon", "nan", "inf", float("nan"), "1h", "-1y", "2026-13-01", "--1h"])
def test_what_is_no_moment_is_an_error_of_one_line(moment):
    with pytest.raises(MomentError) as caught:
        timestamp_of(moment)
    assert "\n" not in str(caught.value)


@given(st.floats(-6e10, 2e11))
def test_any_moment_of_the_calendar_survives_its_text(seconds):
    moment = datetime.fromtimestamp(seconds, UTC)
    assert timestamp_of(moment.isoformat()) == moment.timestamp()


@pytest.mark.parametrize(("span", "seconds"), [("30s", 30), ("1 h", 3600), ("2m", 120), (".5d", 43200)])
def test_a_span_has_a_unit(span, seconds):
    assert seconds_of(span) == seconds


@pytest.mark.parametrize("span", ["1", "h", "-1h", "1 month", "1e3s"])
def test_what_is_no_span_is_an_error(span):
    with pytest.raises(MomentError):
        seconds_of(span)


def test_a_span_of_time_has_its_end_after_its_beginning():
    assert span_of(None, "-1h", lambda: NOW) == (None, NOW - 3600)
    assert span_of(1, None) == (1.0, None)
    with pytest.raises(MomentError, match="before the beginning"):
        span_of("now", "-1h", lambda: NOW)
