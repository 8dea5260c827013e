"""Merging arguments: what is overridden goes, everything else survives as it was written."""

import argparse
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.scf.arguments import merge_arguments
from ocs.site_config import ArgContainer

NAMES = st.text(ascii_lowercase, min_size=1, max_size=4)
OPTIONS = NAMES.map("--{}".format)
VALUES = st.one_of(NAMES, st.integers().map(str), st.floats(allow_nan=False, allow_infinity=False).map(str))
PAIRS = st.lists(st.tuples(OPTIONS, VALUES), max_size=8)


def words(pairs):
    return [word for pair in pairs for word in pair]


def merged(base, other):
    container = ArgContainer(base)
    container.update(ArgContainer(other))
    return container.to_list()


@given(st.lists(st.one_of(OPTIONS, VALUES, st.text(max_size=5), st.just("--"), st.just("-")), max_size=12))
def test_a_list_alone_comes_out_as_it_went_in(given_words):
    assert ArgContainer(given_words).to_list() == given_words


@given(PAIRS, PAIRS)
def test_the_later_list_says_what_its_options_are(base, other):
    overridden = dict(other)
    result = merged(words(base), words(other))
    kept = [pair for pair in base if pair[0] not in overridden]
    assert sorted(result) == sorted(words(kept) + words(other))
    for option in overridden:
        assert ArgContainer(result).arg_dict[option] == [value for name, value in other if name == option]


@given(PAIRS, PAIRS)
def test_merging_twice_changes_nothing_more(base, other):
    once = merged(words(base), words(other))
    assert ArgContainer(merged(once, words(other))).arg_dict == ArgContainer(once).arg_dict


@given(PAIRS)
def test_nothing_is_overridden_by_nothing(base):
    assert merged(words(base), []) == words(base)


def test_options_keep_their_place():
    assert merged(["--a", "1", "--b", "2"], ["--c", "3", "--a", "9"]) == ["--a", "9", "--b", "2", "--c", "3"]


def test_arg_dict_has_values_by_option():
    container = ArgContainer(["pos", "--rep", "1", "--flag", "--rep", "2", "--key=value", "--many", "a", "b"])
    assert container.arg_dict == {
        "__positional__": ["pos"],
        "--rep": ["1", "2"],
        "--flag": [],
        "--key": ["value"],
        "--many": ["a", "b"],
    }


def test_an_option_with_an_equals_sign_is_overridden_by_one_without():
    assert merged(["--mode=idle", "--x"], ["--mode", "acq"]) == ["--mode", "acq", "--x"]


def test_all_occurrences_are_overridden():
    assert merged(["--rep", "1", "--rep", "2"], ["--rep", "7"]) == ["--rep", "7"]


def test_negative_numbers_are_values():
    assert ArgContainer(["--offset", "-5", "-.5"]).arg_dict["--offset"] == ["-5", "-.5"]


def test_positional_arguments_are_replaced_where_there_are_others():
    assert merged(["old", "--a", "1"], ["new"]) == ["new", "--a", "1"]
    assert merged(["old", "--a", "1"], ["--a", "2"]) == ["old", "--a", "2"]


def test_what_follows_a_double_dash_stays_last():
    assert merged(["--a", "1", "--", "-x"], ["--b", "2"]) == ["--a", "1", "--b", "2", "--", "-x"]


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", "--mode")
    parser.add_argument("--rep", action="append")
    parser.add_argument("--flag", action=argparse.BooleanOptionalAction)
    parser.add_argument("-v", "--verbose", action="count")
    parser.add_argument("--pair", nargs=2)
    parser.add_argument("--fast", dest="speed", action="store_const", const="fast")
    parser.add_argument("--slow", dest="speed", action="store_const", const="slow")
    transport = parser.add_mutually_exclusive_group()
    transport.add_argument("--udp", action="store_true")
    transport.add_argument("--tcp", action="store_true")
    parser.add_argument("place", nargs="*")
    return parser


@pytest.mark.parametrize(
    ("base", "override", "expected"),
    [
        (["--flag", "here"], ["--flag"], {"flag": True, "place": ["here"]}),
        (["--flag"], ["--no-flag"], {"flag": False}),
        (["--mode", "idle"], ["-m", "acq"], {"mode": "acq"}),
        (["--mode", "idle"], ["-macq"], {"mode": "acq"}),
        (["--mode", "idle"], ["--mod", "acq"], {"mode": "acq"}),
        (["--rep", "1", "--rep", "2"], ["--rep", "7"], {"rep": ["7"]}),
        (["--rep", "1", "--rep", "2"], ["--mode", "x"], {"rep": ["1", "2"], "mode": "x"}),
        (["-v", "-v"], ["-v"], {"verbose": 1}),
        (["--pair", "1", "2", "here"], ["--pair", "3", "4"], {"pair": ["3", "4"], "place": ["here"]}),
        (["--fast"], ["--slow"], {"speed": "slow"}),
        (["--slow"], ["--fast"], {"speed": "fast"}),
        (["--udp"], ["--tcp"], {"udp": False, "tcp": True}),
        (["--mode", "idle", "here"], ["there"], {"mode": "idle", "place": ["there"]}),
        (["--mode=-5"], ["--flag"], {"mode": "-5", "flag": True}),
        (["--flag", "here"], ["--no-flag", "there"], {"flag": False, "place": ["there"]}),
        ([], ["--mode", "x"], {"mode": "x"}),
    ],
)
def test_a_known_parser_decides_what_belongs_to_an_option(parser, base, override, expected):
    namespace = parser.parse_args(merge_arguments(base, override, parser))
    assert {name: getattr(namespace, name) for name in expected} == expected
