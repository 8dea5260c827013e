import pytest

from ocs.hk.names import UnknownFieldError, chosen_names

NAMES = [
    "observatory.fake-1.feeds.temps.channel_00",
    "observatory.fake-1.feeds.temps.channel_01",
    "observatory.fake-2.feeds.temps.channel_00",
    "observatory.fake-2.feeds.noise.level",
]


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("observatory.fake-1.feeds.temps.channel_01", [1]),
        ("fake-1.channel_00", [0]),
        ("fake-1", [0, 1]),
        ("fake-1.*", [0, 1]),
        ("*.temps.*", [0, 1, 2]),
        ("*_00", [0, 2]),
        ("channel_0?", [0, 1, 2]),
        ("fake-*.noise.level", [3]),
        ("*", [0, 1, 2, 3]),
        ("temps.channel_00", [0, 2]),
    ],
)
def test_a_pattern_names_parts_in_their_order(pattern, numbers):
    assert chosen_names([pattern], NAMES) == [NAMES[number] for number in numbers]


@pytest.mark.parametrize(
    "pattern", ["channel", "channel_00.fake-1", "fake.1", "FAKE-1", "", "observatory.*.*.*.*.*", "["]
)
def test_what_fits_no_name_is_an_error(pattern):
    with pytest.raises(UnknownFieldError):
        chosen_names([pattern], NAMES)


def test_a_full_name_means_no_other():
    assert chosen_names(["a.b"], ["a.b", "a.b.c", "a.x.b"]) == ["a.b"]


def test_each_name_comes_once_in_the_order_asked_for():
    assert chosen_names(["level", "fake-2"], NAMES) == [NAMES[3], NAMES[2]]


def test_no_name_at_all_is_said():
    with pytest.raises(UnknownFieldError, match="has none at all"):
        chosen_names(["x"], [])


def test_a_typing_mistake_is_answered_with_what_could_be_meant():
    with pytest.raises(UnknownFieldError, match=r"did you mean .*fake-2\.feeds\.noise\.level"):
        chosen_names(["fake-2.levl"], NAMES)
    with pytest.raises(UnknownFieldError, match="`ocs data list`"):
        chosen_names(["qqq"], NAMES)
