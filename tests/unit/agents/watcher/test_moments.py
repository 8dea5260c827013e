"""The times of what the watcher publishes."""

from ocs.agents.watcher.moments import apart

NOW = 1_790_000_000.0


def test_a_thousand_changes_of_one_moment_have_a_thousand_times_next_to_it():
    times = [NOW]
    for _ in range(1000):
        times.append(apart(NOW, times[-1]))
    assert times == sorted(set(times))
    assert times[-1] - NOW < 0.01


def test_the_time_of_a_change_is_its_own_where_it_can_be():
    assert apart(NOW, float("-inf")) == NOW
    assert apart(NOW + 0.5, NOW) == NOW + 0.5
    assert apart(NOW, NOW + 3600) == NOW, "the clock has been set back meanwhile"
