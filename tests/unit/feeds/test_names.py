"""Field names: which are legal, and how any text becomes one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.feeds.names import FIELD_NAME_LIMIT, enforce_field_name_rules, verify_data_field_string
from ocs.ocs_feed import Feed

LEGAL = re.compile(r"_*[A-Za-z][A-Za-z0-9_]*", re.ASCII)
texts = st.text(st.characters(codec="utf-8")) | st.text("_ aZ09.-é\n", max_size=300)


@given(texts)
def test_any_text_becomes_a_legal_name(text):
    assert verify_data_field_string(enforce_field_name_rules(text)) is True


@given(st.from_regex(LEGAL, fullmatch=True).filter(lambda name: len(name) <= FIELD_NAME_LIMIT))
def test_a_legal_name_stays_as_it_is(name):
    assert verify_data_field_string(name) is True
    assert enforce_field_name_rules(name) == name


@given(texts)
def test_making_a_name_legal_twice_changes_nothing_more(text):
    once = enforce_field_name_rules(text)
    assert enforce_field_name_rules(once) == once


@given(texts)
def test_a_name_is_accepted_exactly_when_it_keeps_the_rules(text):
    legal = len(text) <= FIELD_NAME_LIMIT and (LEGAL.fullmatch(text) or (text and not text.strip("_")))
    try:
        accepted = verify_data_field_string(text)
    except ValueError:
        accepted = False
    assert accepted == bool(legal)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "invalid_field"),
        ("channel 1", "channel_1"),
        ("1st", "st"),
        ("__1temp", "__temp"),
        ("_temp", "_temp"),
        ("temp-1.5", "temp15"),
        ("°C", "C"),
        ("123", "invalid_field"),
        ("a" * 300, "a" * 255),
        ("tab\there", "tabhere"),
    ],
)
def test_what_becomes_of_a_name(text, name):
    assert enforce_field_name_rules(text) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "empty"), ("1a", "letter first"), ("_1a", "letter first"), ("a b", "' '"), ("a.b", "'.'"), ("a\n", r"\\n"),
     ("é", "é"), ("a" * 256, "255")],
)  # fmt: skip
def test_an_illegal_name_is_refused_with_the_reason(name, reason):
    with pytest.raises(ValueError, match=reason):
        verify_data_field_string(name)


def test_feeds_offer_the_rules_too():
    assert Feed.enforce_field_name_rules("a b") == "a_b"
    assert Feed.verify_data_field_string("a_b") is True
