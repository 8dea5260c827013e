"""The benchmarks judge as they should: ratios by round, verdicts by target, work that is put off counted as work."""

from types import SimpleNamespace

import pytest

from benchmarks import __main__ as command
from benchmarks.case import Case, Figure, Target
from benchmarks.publish import Load, rates
from benchmarks.report import Results, number
from benchmarks.sides import OURS, PUBLISHED, BenchmarkError, child_environment

SIDES = [SimpleNamespace(name=name, versions={}) for name in (OURS, PUBLISHED)]
FIGURE = Figure("wall", "wall (s)", (Target(0.5), Target(3, ratio=False)))
CASE = Case("start", "starting", lambda *_: {}, (FIGURE,))


def results(ours, published):
    found = Results(SIDES)
    for side, values in zip(SIDES, (ours, published), strict=True):
        for value in values:
            found.add(CASE, side, {"wall": value})
    return found


def test_rounds_are_compared_with_their_own_partner():
    assert results([1, 4], [2, 2]).ratios(CASE, FIGURE) == [0.5, 2]


@pytest.mark.parametrize(
    ("ours", "published", "met"),
    [([1, 1], [2, 2], [True, True]), ([2, 2], [2, 2], [False, True]), ([4], [9], [True, False])],
)
def test_each_target_has_its_verdict(ours, published, met):
    assert [verdict for _, verdict in results(ours, published).verdicts(CASE, FIGURE)] == met


def test_a_round_without_a_figure_leaves_the_verdict_open():
    found = results([1, None], [2, 2])
    assert found.middle(CASE, FIGURE, OURS) is None
    assert [met for _, met in found.verdicts(CASE, FIGURE)] == [True, None]


def test_a_side_without_a_figure_has_no_ratio():
    assert results([1], [None]).ratios(CASE, FIGURE) == []


def test_a_target_can_be_the_least():
    assert Target(5, most=False).met(6)
    assert not Target(5, most=False).met(4)


def test_work_put_off_until_after_the_last_call_counts_against_the_publisher():
    told = {"wall": 1.0, "cpu": 1.0, "generating": 0.0, "started": 0.0}
    arrived = {"last": 4.0}
    at_once = rates(Load("single", "unbuffered", 1000), told, 1.0, 1000, arrived)
    put_off = rates(Load("single", "unbuffered", 1000), told, 2.0, 1000, arrived)
    assert (at_once["rate"], put_off["rate"]) == (1000, 500)


def test_a_publisher_that_no_longer_answers_has_no_speed():
    assert rates(Load("single", "unbuffered", 1000), {}, 1.0, 0, {}) == {"rate": None, "end_to_end": None, "cpu": None}


def test_measurements_are_chosen_by_the_beginning_of_their_names():
    assert {case.name for case in command.chosen(["client i", "client b"])} == {"client import", "client build"}
    assert command.chosen([]) == command.CASES


def test_an_unknown_measurement_is_refused_by_name():
    with pytest.raises(BenchmarkError, match="'speed'"):
        command.chosen(["speed"])


def test_no_two_measurements_share_a_name():
    names = [case.name for case in command.CASES]
    assert len(names) == len(set(names))


def test_settings_of_a_site_do_not_leak_into_what_is_measured(monkeypatch):
    monkeypatch.setenv("OCS_CONFIG_DIR", "/site")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert {"OCS_CONFIG_DIR", "PYTHONDONTWRITEBYTECODE"}.isdisjoint(child_environment())


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0, "0"), (12, "12"), (0.12345, "0.123"), (571_660.4, "571,660")]
)
def test_numbers_are_shown_with_the_figures_that_matter(value, text):
    assert number(value) == text
