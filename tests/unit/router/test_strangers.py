"""What strangers may cost a closed router."""

from ocs.router.strangers import LATE_S, MOST_STRANGERS, PROMPT_REFUSALS, TELL_AGAIN_S, Refusals, Telling


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_the_same_is_told_once_a_minute():
    clock, lines = Clock(), []
    telling = Telling(lines.append, clock)
    for _ in range(121):
        telling.tell("x", "a line")
        telling.tell("y", "another")
        clock.now += 1
    assert sorted(lines) == ["a line"] * 3 + ["another"] * 3


def test_the_last_line_of_a_flood_says_that_it_is_the_last():
    clock, lines = Clock(), []
    telling = Telling(lines.append, clock)
    for number in range(10 * MOST_STRANGERS):
        telling.tell(number, "a line")
    assert len(lines) == MOST_STRANGERS
    assert "not told of" in lines[-1]
    assert "not told of" not in lines[-2]
    clock.now += TELL_AGAIN_S
    telling.tell("x", "news")
    assert lines[-1] == "news"


def test_refusals_come_late_after_the_first_ones_of_a_minute():
    clock = Clock()
    refusals = Refusals(clock)
    assert [refusals.delay("a") for _ in range(PROMPT_REFUSALS + 2)] == [0.0] * PROMPT_REFUSALS + [LATE_S] * 2
    assert refusals.delay("b") == 0.0
    clock.now += 60
    assert refusals.delay("a") == 0.0


def test_a_clock_that_goes_back_silences_nothing():
    clock, lines = Clock(), []
    telling = Telling(lines.append, clock)
    telling.tell("x", "a line")
    clock.now -= 3600
    telling.tell("x", "a line")
    assert len(lines) == 2


def test_a_clock_that_goes_back_makes_nobody_wait_for_long():
    clock = Clock()
    refusals = Refusals(clock)
    for _ in range(PROMPT_REFUSALS + 1):
        refusals.delay("a")
    clock.now -= 3600
    assert refusals.delay("a") == 0.0


def test_addresses_are_kept_in_bounds():
    refusals = Refusals(Clock())
    for number in range(5000):
        refusals.delay(f"a{number}")
    assert len(refusals) == 1000
