"""The line protocol: what a real server gives back is what was given, and a reader of the tests' own agrees."""

import math
import re
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocs.influx.lines import chunks, encode, exactly, in_microseconds, is_name, line_times, parts_of, rows_of

LARGEST = 2**63 - 1
names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"'), min_size=1, max_size=20).filter(
    lambda name: is_name(name) and name != "time"
)
# Between a name's backslash and a character that is escaped by one, a server cannot tell which is meant.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
columns_of = st.sampled_from(
    [
        st.floats(),
        st.integers(-LARGEST - 1, LARGEST),
        st.integers(-(2**80), 2**80),
        st.booleans(),
        texts,
        st.one_of(st.floats(), st.integers(-(2**53), 2**53)),
        st.one_of(st.none(), st.booleans()),
    ]
)


@st.composite
def blocks(draw):
    length = draw(st.integers(1, 6))
    times = draw(st.lists(st.integers(-(10**18), 10**18), min_size=length, max_size=length, unique=True))
    fields = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    columns = {name: draw(st.lists(draw(columns_of), min_size=length, max_size=length)) for name in fields}
    return times, columns


def kept(column):
    """What should arrive of a column: None where the protocol has no word."""
    as_floats = {type(value) for value in column} == {int, float}
    return [_kept(float(value) if as_floats else value) for value in column]


def _kept(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if type(value) is int and not -LARGEST - 1 <= value <= LARGEST:
        return None
    return value


def expected(times, columns):
    found = {}
    for i, time in enumerate(times):
        row = {name: kept(column)[i] for name, column in columns.items()}
        row = {name: value for name, value in row.items() if value is not None}
        if row:
            found[time] = row
    return found


def read(body):
    """Read lines, character by character."""
    found = {}
    place = 0
    while place < len(body):
        head, place = until(body, place, " ")
        row = {}
        while True:
            name, place = until(body, place, "=")
            value, place = literal(body, place)
            row[unescaped(name)] = value
            if body[place] == " ":
                break
            place += 1
        end = body.find("\n", place)
        end = len(body) if end < 0 else end
        found[int(body[place + 1 : end])] = row
        place = end + 1
    return head if found else "", found


def until(body, place, stop):
    start = place
    while body[place] != stop or body[place - 1] == "\\":
        place += 1
    return body[start:place], place + 1


def unescaped(name):
    return re.sub(r"\\([,= ])", r"\1", name)


def literal(body, place):
    if body[place] == '"':
        text = ""
        place += 1
        while body[place] != '"':
            place += body[place] == "\\"
            text += body[place]
            place += 1
        return text, place + 1
    word = re.compile("[^, ]+").match(body, place)[0]
    place += len(word)
    if word in ("True", "False"):
        return word == "True", place
    return (int(word[:-1]) if word.endswith("i") else float(word)), place


@given(names, names, blocks())
def test_a_reader_finds_what_was_given(measurement, feed, block):
    times, columns = block
    lines = encode(measurement, feed, times, columns)
    head, found = read("\n".join(lines.rows))
    assert found == expected(times, columns)
    if found:
        name, _, tag = head.rpartition(",feed=")
        assert (unescaped(name), unescaped(tag)) == (measurement, feed)


@given(names, blocks())
def test_what_is_left_out_is_counted(measurement, block):
    times, columns = block
    gone = sum(kept(column).count(None) for column in columns.values())
    assert sum(encode(measurement, "f", times, columns).left_out.values()) == gone


@given(names, names, blocks())
def test_a_body_is_taken_apart_into_its_lines_again(measurement, feed, block):
    rows = encode(measurement, feed, *block).rows
    if rows:
        assert rows_of("\n".join(rows)) == rows
        assert [" ".join(parts_of(row)) for row in rows] == rows


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block=blocks(), feed=names.filter(lambda name: "\\" not in name))
def test_a_real_server_gives_back_what_was_given(influxd, block, feed):
    times, columns = block
    database = "lines"
    measurement = f"observatory.{uuid4()}"
    columns = {name: column for name, column in columns.items() if "\\" not in name and name not in ("time", "feed")}
    lines = encode(measurement, feed, times, columns)
    influxd.query(f'CREATE DATABASE "{database}"')
    if "\n".join(lines.rows):
        path = f"/write?{urlencode({'db': database, 'precision': 'ns'})}"
        status, body = influxd.ask("POST", path, "\n".join(lines.rows).encode())
        assert status == 204 or b"type conflict" in body, (body, lines.rows)
        if status != 204:
            return  # one type for a field and a message is not promised for mixtures that make no sense
    found = {row.pop("time"): row for row in influxd.rows(database, measurement)}
    tags = {row.pop("feed") for row in found.values()}
    assert tags <= {feed}
    wanted = expected(times, columns)
    assert found.keys() == wanted.keys()
    for time, row in wanted.items():  # the server's JSON writes a large float without a point
        assert {k: float(v) if isinstance(row.get(k), float) else v for k, v in found[time].items()} == row


@pytest.mark.parametrize(
    "value",
    [
        'say "hello"',
        "a,b",
        "a b",
        "two\nlines",
        "back\\slash",
        "ends with \\",
        "\\n",
        "größer ☃ 🔭",
        "",
        "tab\tcr\r",
        "=",
        "'",
    ],
)
def test_a_text_arrives_as_it_was(influxd, value):
    influxd.query('CREATE DATABASE "texts"')
    name = f"m{uuid4()}"
    (row,) = encode(name, "f", [5], {"s": [value]}).rows
    assert influxd.write("texts", row)[0] == 204
    assert influxd.rows("texts", name) == [{"time": 5, "feed": "f", "s": value}]


def test_types_are_those_of_python(influxd):
    influxd.query('CREATE DATABASE "types"')
    name = f"m{uuid4()}"
    columns = {"f": [1.0], "i": [1], "b": [True], "s": ["1"], "least": [-(2**63)], "most": [2**63 - 1]}
    assert influxd.write("types", *encode(name, "f", [5], columns).rows)[0] == 204
    assert influxd.types("types", name) == {
        "f": "float",
        "i": "integer",
        "b": "boolean",
        "s": "string",
        "least": "integer",
        "most": "integer",
    }
    assert {**influxd.rows("types", name)[0]}["most"] == 2**63 - 1


def test_a_field_with_integers_and_floats_is_one_of_floats():
    assert encode("m", "f", [1, 2], {"x": [1, 2.5]}).rows == ["m,feed=f x=1.0 1", "m,feed=f x=2.5 2"]


def test_a_nan_costs_its_value_and_no_more():
    lines = encode("m", "f", [1, 2], {"x": [math.nan, 2.5], "y": [1, 2]})
    assert lines.rows == ["m,feed=f y=1i 1", "m,feed=f y=2i,x=2.5 2"]
    assert lines.left_out == {"not_finite": 1}


def test_a_line_without_values_is_none():
    lines = encode("m", "f", [1, 2], {"x": [math.inf, 2.5]})
    assert lines.rows == ["m,feed=f x=2.5 2"]


def test_percent_signs_are_nothing_special():
    assert encode("100%", "%s", [1], {"%d": [1.5]}).rows == ["100%,feed=%s %d=1.5 1"]
    assert encode("100%", "%s", [1, 2], {"%d": [1.5, None]}).rows == ["100%,feed=%s %d=1.5 1"]


def test_names_that_cannot_be_told_are_counted():
    lines = encode("m", "f", [1], {"a\nb": [1], "": [2], "ends\\": [3], "good": [4], "time": [5]})
    assert lines.rows == ["m,feed=f good=4i 1"]
    assert lines.left_out == {"name": 4}


def test_times_are_those_of_the_published_publisher():
    assert line_times([1700000000.123456, 1700000000, 0.1], exactly) == [
        1700000000123456000,
        1700000000000000000,
        100000000,
    ]
    assert line_times([1234567890.0000005], in_microseconds) == [1234567890000000000]


def test_what_is_no_time_costs_its_sample_alone():
    assert line_times([1.0, math.nan, "x", True, 1e30, None]) == [1000000000, None, None, None, None, None]
    lines = encode("m", "f", [None, 5], {"x": [1, 2]})
    assert lines.rows == ["m,feed=f x=2i 5"]
    assert lines.left_out == {"time": 1}


@given(st.lists(st.text(max_size=50), min_size=1), st.integers(1, 300))
def test_chunks_hold_all_lines_in_order(rows, most):
    parts = chunks(rows, most)
    assert sum(count for count, _ in parts) == len(rows)
    assert b"\n".join(body for _, body in parts) == "\n".join(rows).encode("utf-8", "replace")
    assert all(len(body) <= most or count == 1 for count, body in parts)
