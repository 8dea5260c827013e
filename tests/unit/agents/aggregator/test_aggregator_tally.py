from ocs.agents.aggregator.messages import Fault
from ocs.agents.aggregator.tally import QUIET_TIME, Tally
from tests.harness.archive import Lines


def test_the_same_trouble_of_a_feed_is_logged_once_and_counted_always(clock):
    log = Lines()
    tally = Tally(log, clock)
    for _ in range(1000):
        tally.count("a.feeds.b", Fault("values", 2, "field x has no values"))

    assert log.lines == ["a.feeds.b: field x has no values; 2 values dropped"]
    assert tally.dropped == {"values": 2000}
    assert tally.faults == {"values": 1000}


def test_trouble_that_goes_on_is_logged_again_with_the_number_of_times(clock):
    log = Lines()
    tally = Tally(log, clock)
    for _ in range(3):
        tally.count("a", Fault("values", 0, "again"))
    clock.advance(QUIET_TIME)
    tally.count("a", Fault("values", 0, "again"))

    assert log.lines == ["a: again", "a: again (2 more like it before)"]


def test_other_feeds_and_causes_have_lines_of_their_own(clock):
    log = Lines()
    tally = Tally(log, clock)
    tally.count("a", Fault("values", 0, "1"))
    tally.count("b", Fault("values", 0, "2"))
    tally.count("a", Fault("lengths", 0, "3"))

    assert len(log.lines) == 3


def test_braces_in_what_a_publisher_sent_are_just_text(clock):
    log = Lines()
    Tally(log, clock).count("{a}", Fault("values", 0, "field '{x}' {"))

    assert log.lines == ["{a}: field '{x}' {"]
