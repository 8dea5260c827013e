"""Guesses of passwords: who waits, how long, and who does not."""

import pytest

from ocs.access.throttle import REMEMBERED, STRANGERS, VOUCHED, Guesses, Who

NINA, OTTO, STRANGER = Who("nina"), Who("otto"), Who()


@pytest.fixture
def guesses():
    return Guesses()


def guess(guesses, who, number, now=0.0, prefix="guess"):
    """Guess until there is a pause; return how many were judged."""
    for n in range(number):
        if guesses.may_try(who, f"{prefix}-{n}", now):
            return n
        guesses.wrong(who, f"{prefix}-{n}", now)
    return number


@pytest.mark.parametrize(("who", "pace"), [(NINA, VOUCHED), (STRANGER, STRANGERS)])
def test_some_wrong_passwords_are_free_then_there_are_pauses(guesses, who, pace):
    assert guess(guesses, who, 100) == pace.free
    assert guesses.pause(who, 0.0) == 1.0
    assert guesses.pause(who, 1.0) == 0.0


@pytest.mark.parametrize(("who", "longest"), [(NINA, 60.0), (STRANGER, 2.0)])
def test_pauses_grow_up_to_the_longest(guesses, who, longest):
    now, pauses = 0.0, []
    for n in range(20):
        now += guesses.may_try(who, str(n), now)
        assert guesses.may_try(who, str(n), now) == 0
        pauses.append(guesses.wrong(who, str(n), now))
    assert pauses[:6] == [0, 0, 0, 0, 1, 2]
    assert pauses[5:] == sorted(pauses[5:])
    assert max(pauses) == longest


def test_in_an_hour_nobody_gets_far(guesses):
    for who, most in ((NINA, 75), (STRANGER, 1810)):
        judged, now = 0, 0.0
        while now < 3600.0:
            judged += guess(guesses, who, 1, now, prefix=f"{now}")
            now += 0.25
        assert judged <= most


def test_who_has_a_name_holds_up_nobody_else(guesses):
    guess(guesses, NINA, 100)
    assert guesses.may_try(NINA, "right", 0.0) > 0
    assert guesses.may_try(OTTO, "right", 0.0) == 0
    assert guesses.may_try(STRANGER, "right", 0.0) == 0


def test_another_subject_gives_a_named_one_no_new_guesses_and_strangers_no_hindrance(guesses):
    guess(guesses, NINA._replace(about="one"), 100)
    assert guesses.pause(NINA._replace(about="two"), 0.0) > 0
    guess(guesses, Who(about="one"), 100)
    assert guesses.pause(Who(about="two"), 0.0) == 0


def test_connecting_anew_gives_a_stranger_no_new_guesses(guesses):
    assert sum(guess(guesses, Who(session=n), 1, prefix=str(n)) for n in range(100)) == STRANGERS.free


def test_a_stranger_who_has_known_a_password_is_not_held_up_by_others(guesses):
    proven = Who(session=7)
    guesses.right(proven, "right", 0.0)
    guess(guesses, Who(session=8), 100)
    assert guesses.may_try(Who(session=9), "right", 0.0) > 0
    assert guesses.may_try(proven, "right", 0.0) == 0


def test_a_known_password_buys_no_guesses(guesses):
    judged = 0
    for session in range(100):
        who = Who(session=session)
        if guesses.may_try(who, "known", 0.0) == 0:
            guesses.right(who, "known", 0.0)
        judged += guess(guesses, who, 100, prefix=str(session))
    assert judged <= 2 * STRANGERS.free


def test_nor_does_one_that_many_sessions_have_shown_before(guesses):
    for session in range(100):
        guesses.right(Who(session=session, about="mine"), "known", 0.0)
    for about in ("mine", "another"):
        judged = sum(guess(guesses, Who(session=n, about=about), 5, prefix=f"{about}{n}") for n in range(100))
        assert judged == STRANGERS.free


def test_what_was_right_before_the_rules_changed_is_a_guess_like_any_other(guesses):
    proven = Who(session=7)
    guesses.right(proven, "old", 0.0)
    guess(guesses, Who(session=8), 100)
    assert guesses.may_try(proven, "old", 0.0) == 0
    guesses.wrong(proven, "old", 0.0)
    assert guesses.may_try(proven, "old", 0.0) > 0


def test_many_at_a_time_are_one_try_a_pause(guesses):
    guess(guesses, NINA, 100)
    now = guesses.pause(NINA, 0.0)
    assert [guesses.may_try(NINA, f"new-{n}", now) == 0 for n in range(10)] == [True] + [False] * 9


def test_a_right_password_gives_the_turn_back(guesses):
    guess(guesses, NINA, 100)
    now = guesses.pause(NINA, 0.0)
    assert guesses.may_try(NINA, "right", now) == 0
    guesses.right(NINA, "right", now)
    assert guesses.may_try(NINA, "right", now) == 0


def test_a_program_with_an_old_password_does_not_guess(guesses):
    assert [guesses.wrong(STRANGER, "old", float(n)) for n in range(100)] == [0.0] * 100
    assert guesses.may_try(STRANGER, "right", 100.0) == 0


def test_it_takes_nobodys_turn_either(guesses):
    guess(guesses, STRANGER, 100)
    now = guesses.pause(STRANGER, 0.0)
    assert guesses.may_try(STRANGER, "guess-1", now) > 0
    assert guesses.may_try(STRANGER, "right", now) == 0


def test_wrong_passwords_are_forgiven_in_time(guesses):
    guess(guesses, NINA, 5)
    later = 5 * VOUCHED.calm + 1
    assert guess(guesses, NINA, 100, later, prefix="later") == VOUCHED.free


def test_callers_are_remembered_in_bounded_memory(guesses):
    for n in range(3 * REMEMBERED):
        guesses.wrong(Who(f"name-{n}"), "x", 0.0)
        guesses.right(Who(session=n), "right", 0.0)
    assert len(guesses) == REMEMBERED
    assert len(guesses._proven) == REMEMBERED


def test_passwords_are_not_kept(guesses):
    guesses.wrong(NINA, "geheim", 0.0)
    assert "geheim" not in repr(vars(guesses))
