import pytest

from ocs.cli.readable import count, duration, printable, when


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1.0 min"), (5400, "1.5 h"), (-90, "-1.5 min"), (864000, "10.0 d")],
)
def test_a_time_span_is_said_in_a_unit_that_fits(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("timestamp", "digits", "said"),
    [
        (1_790_000_000.75, 0, "2026-09-21 14:13:20"),
        (1_790_000_000.75, 1, "2026-09-21 14:13:20.7"),
        (1_790_000_000.75, 6, "2026-09-21 14:13:20.750000"),
        (9e10, 3, "4821-12-26"),
        (1e15, 3, "1000000000000000"),
        (float("inf"), 0, "inf"),
        (float("nan"), 0, "nan"),
    ],
)
def test_a_moment_is_said_as_far_as_the_calendar_goes(timestamp, digits, said):
    assert when(timestamp, digits).startswith(said)


@pytest.mark.parametrize(("number", "said"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_things_are_counted_in_the_singular_and_the_plural(number, said):
    assert count(number, "file") == said


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b", "a b"), ("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("é", "é"), ("x" * 11, "x" * 10 + "…")],
)
def test_a_text_is_shown_in_one_short_line(text, shown):
    assert printable(text, 10) == shown
