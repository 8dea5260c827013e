"""What operations produce becomes what can be sent, or is refused by name."""

import enum
import json
import math
from collections import UserDict, deque

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.plain import INT_MAX, INT_MIN, NotSendableError, plain, plain_or_null, sendable_text

scalars = st.none() | st.booleans() | st.integers(INT_MIN, INT_MAX) | st.floats(allow_infinity=False) | st.text()
anything = st.recursive(
    scalars | st.floats() | st.binary() | st.integers() | st.text(st.characters()) | st.just(object()),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
)


@given(anything)
def test_what_is_shown_to_clients_is_always_strict_json_and_msgpack(value):
    shown, _ = plain_or_null(value)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert msgpack.unpackb(msgpack.packb(shown)) == shown


@given(anything)
def test_a_value_is_refused_exactly_when_something_would_be_left_out(value):
    _, reasons = plain_or_null(value)
    if reasons:
        with pytest.raises(NotSendableError):
            plain(value)
    else:
        assert plain(value) == plain_or_null(value)[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int64(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1, 2]), [1, 2]),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (np.array(7), 7),
        (float("nan"), None),
        ([1.0, math.nan, 2.0], [1.0, None, 2.0]),
        ((1, "a"), [1, "a"]),
        ({3}, [3]),
        (None, None),
    ],
)
def test_numpy_and_nan_become_plain_values(value, expected):
    result = plain({"x": value})["x"]
    assert result == expected
    assert type(result) is type(expected)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


def test_keys_become_text_as_json_writes_them():
    assert plain({7: 1, None: 2, True: 3, Colour.RED: 4, 1.5: 5, np.str_("s"): 6}) == {
        "7": 1, "null": 2, "true": 3, "red": 4, "1.5": 5, "s": 6,
    }  # fmt: skip


def test_subclasses_of_plain_types_become_the_plain_type():
    result = plain([Level.LOW, UserDict(a=1)])
    assert result == [1, {"a": 1}]
    assert [type(item) for item in result] == [int, dict]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.inf, "infinite"),
        (np.array([-math.inf]), "infinite"),
        (2**64, "64 bits"),
        ([2**64], "64 bits"),
        (b"raw", "bytes"),
        (1j, "complex"),
        (object(), "object"),
        (np.datetime64("2020-01-01"), "date"),
        ("\ud800", "Unicode"),
        (deque([1]), "deque"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_place(value, reason):
    with pytest.raises(NotSendableError, match=reason) as caught:
        plain({"a": [0, {"b": value}]}, "session.data")
    assert caught.value.place.startswith("session.data['a'][1]['b']")


def test_the_refusal_is_a_value_error_and_a_type_error():
    for kind in (ValueError, TypeError):
        with pytest.raises(kind):
            plain(object())


def test_a_map_that_contains_itself_is_refused():
    loop = {}
    loop["self"] = loop
    with pytest.raises(NotSendableError, match="deep"):
        plain(loop)


def test_one_bad_value_costs_only_itself():
    shown, reasons = plain_or_null({"good": 1, "bad": math.inf, "list": [1, b""]}, "data")
    assert shown == {"good": 1, "bad": None, "list": [1, None]}
    assert len(reasons) == 2
    assert reasons[0].startswith("data['bad']")


def test_what_takes_too_much_room_is_left_out_and_the_rest_stays():
    shown, reasons = plain_or_null({"big": np.zeros(10_000), "text": "x" * 50_000, "small": [1, 2]}, "data", 10_000)
    assert shown == {"big": None, "text": None, "small": [1, 2]}
    assert [reason.split()[0] for reason in reasons] == ["data['big']", "data['text']"]


def test_the_copy_does_not_change_with_the_original():
    original = {"list": [1.0]}
    copy = plain(original)
    original["list"].append(2.0)
    assert copy == {"list": [1.0]}


@given(st.text(st.characters()))
def test_text_from_anywhere_becomes_sendable(text):
    assert sendable_text(text).encode() is not None
    assert len(sendable_text(text)) == len(text)


def test_sendable_text_is_left_as_it_is():
    assert sendable_text("Grüße, 星") == "Grüße, 星"
    assert sendable_text("file-\udcff") == "file-?"
