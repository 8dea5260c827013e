"""What a sequence script is written with."""

from functools import partial

import pytest

from ocs.errors import SequenceScriptError
from ocs.sequence import SequenceEnd, at_end, declaring, step


def test_steps_are_declared_in_their_order_with_titles_and_weights():
    with declaring() as declared:

        @step("Cool down", weight=3)
        def first(run): ...

        @step()
        def take_the_second_one(run): ...

    assert [(each.title, each.weight) for each in declared.steps] == [("Cool down", 3.0), ("take the second one", 1.0)]
    assert declared.steps[0].function is first


def test_steps_can_be_made_in_a_loop():
    def scan(azimuth, run): ...

    with declaring() as declared:
        for azimuth in (10, 20):
            step(f"Scan at {azimuth}")(partial(scan, azimuth))
    assert [each.title for each in declared.steps] == ["Scan at 10", "Scan at 20"]


def test_the_last_thing_for_the_end_is_done_first():
    with declaring() as declared:

        @at_end
        def close_the_dome(run): ...

        @at_end("Park")
        def park_it(run): ...

    assert [each.title for each in declared.closings] == ["Park", "close the dome"]


def test_two_steps_of_one_title_are_refused():
    with declaring():
        step("scan")(print)
        with pytest.raises(SequenceScriptError, match="two steps with the title 'scan'"):
            step("scan")(print)


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan"), True, "3", None])
def test_a_weight_is_a_number_above_0(weight):
    with pytest.raises(SequenceScriptError, match="above 0"):
        step("scan", weight=weight)


def test_forgotten_parentheses_are_told():
    with pytest.raises(SequenceScriptError, match="parentheses"):

        @step
        def scan(run): ...


def test_a_script_can_be_imported_by_its_own_tests():
    @step("scan")
    def scan(run):
        return "scanned"

    assert scan(None) == "scanned"


def test_an_end_is_not_caught_as_an_error():
    assert not issubclass(SequenceEnd, Exception)
