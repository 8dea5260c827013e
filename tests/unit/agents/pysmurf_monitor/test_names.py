"""Legal names that two texts never share."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.pysmurf_monitor import names
from ocs.agents.pysmurf_monitor.names import Ambiguous, Names, NamesExhaustedError


def legal(text):
    return re.sub(r"[^a-z]", "", text)[:255] or "none"


def made(ambiguous=None, most=1000, **more):
    return Names(legal, most, ambiguous or Ambiguous(None), "s", **more)


def test_the_first_gets_the_plain_name():
    assert made().name("a.b") == "ab"


@given(st.lists(st.text(alphabet="ab.-", min_size=1, max_size=6)))
def test_two_texts_never_share_a_name_and_each_keeps_its_own(texts):
    given_names = made()
    first = {text: given_names.name(text) for text in texts}
    assert len(set(first.values())) == len(first)
    assert all(given_names.name(text) == name for text, name in first.items())


def test_names_are_the_same_after_a_restart_in_whatever_order_texts_come(tmp_path):
    path = tmp_path / "names.json"
    before = made(Ambiguous(path))
    texts = ["a.b", "ab", "a-b"]
    first = {text: before.name(text) for text in texts}
    after = made(Ambiguous(path))
    assert {text: after.name(text) for text in reversed(texts)} == first


@pytest.mark.parametrize("content", ["", "{}", "[1, null]", "\x00"])
def test_a_file_that_is_no_list_of_texts_is_begun_anew(tmp_path, content):
    path = tmp_path / "names.json"
    path.write_text(content)
    assert made(Ambiguous(path)).name("a.b") == "ab"


def test_a_folder_that_cannot_be_written_costs_nothing_now(tmp_path):
    given_names = made(Ambiguous(tmp_path / "nowhere" / "names.json"))
    assert given_names.name("ab") != given_names.name("a.b")


def test_a_clash_is_told():
    told = []
    given_names = made(on_clash=lambda *both: told.append(both))
    given_names.name("ab")
    given_names.name("a.b")
    given_names.name("a.b")
    assert told == [("ab", "a.b")]


def test_there_are_not_more_names_than_allowed():
    given_names = made(most=2)
    given_names.name("a")
    given_names.name("b")
    assert given_names.name("a") == "a"
    with pytest.raises(NamesExhaustedError):
        given_names.name("c")


def test_there_are_not_more_clashes_than_are_remembered(monkeypatch):
    monkeypatch.setattr(names, "MOST_AMBIGUOUS", 1)
    given_names = made()
    for text in ("ab", "a.b"):
        given_names.name(text)
    with pytest.raises(NamesExhaustedError):
        given_names.name("a..b")


def test_names_of_different_realms_do_not_clash():
    ambiguous = Ambiguous(None)
    one, other = (Names(legal, 10, ambiguous, realm) for realm in ("s1", "s2"))
    one.name("ab")
    one.name("a.b")
    assert other.name("a.b") == "ab"
