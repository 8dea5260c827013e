"""Locks, pacing and thread questions."""

import threading
import time

import pytest
from twisted.internet.task import Clock
from twisted.python import threadable

from ocs import ocs_twisted
from ocs.ocs_twisted import OperationThread, Pacemaker, TimeoutLock, in_reactor_context


def in_thread(function, kind=threading.Thread):
    """Call a function in a thread and return what it returned or raised."""
    result = []

    def work():
        try:
            result.append(function())
        except Exception as error:
            result.append(error)

    thread = OperationThread("op", work) if kind is OperationThread else kind(target=work)
    thread.start()
    thread.join(10)
    return result[0]


# TimeoutLock


def test_a_free_lock_is_had_at_once_and_knows_its_job():
    lock = TimeoutLock()
    assert lock.acquire(job="init") is True
    assert lock.job == "init"
    lock.release()
    assert lock.job is None


def test_a_held_lock_is_not_waited_for_by_default():
    lock = TimeoutLock()
    lock.acquire(job="first")
    began = time.monotonic()
    assert lock.acquire(job="second") is False
    assert time.monotonic() - began < 0.5
    assert lock.job == "first"


@pytest.mark.parametrize("lock", [TimeoutLock(default_timeout=0.1), TimeoutLock()])
def test_acquire_gives_up_when_its_time_is_up(lock):
    lock.acquire()
    began = time.monotonic()
    assert lock.acquire(timeout=None if lock._default_timeout else 0.1) is False
    assert 0.09 < time.monotonic() - began < 2


@pytest.mark.parametrize("timeout", [5, -1])
def test_acquire_gets_the_lock_when_it_is_released(timeout):
    lock = TimeoutLock()
    lock.acquire()
    timer = threading.Timer(0.05, lock.release)
    timer.start()
    assert lock.acquire(timeout=timeout, job="next") is True
    assert lock.job == "next"
    timer.join()


def test_a_with_block_runs_either_way_and_tells_which():
    lock = TimeoutLock()
    with lock.acquire_timeout(job="outer") as got:
        assert got is True
        with lock.acquire_timeout(0.01, job="inner") as again:
            assert again is False
            assert lock.job == "outer"
    assert lock.acquire() is True


def test_a_with_block_releases_when_its_body_raises():
    lock = TimeoutLock()
    with pytest.raises(RuntimeError), lock.acquire_timeout():
        raise RuntimeError
    assert lock.acquire() is True


def test_a_waiting_thread_has_its_turn_between_release_and_acquire():
    lock, order = TimeoutLock(), []
    lock.acquire(job="loop")
    waiting = threading.Event()

    def other():
        waiting.set()
        assert lock.acquire(timeout=5, job="other")
        order.append("other")
        lock.release()

    thread = threading.Thread(target=other)
    thread.start()
    waiting.wait(5)
    while not lock._gate.locked():
        time.sleep(0.001)
    assert lock.release_and_acquire(timeout=5) is True
    order.append("loop")
    thread.join()
    assert order == ["other", "loop"]
    assert lock.job == "loop"


def test_release_and_acquire_without_anybody_waiting_keeps_the_lock():
    lock = TimeoutLock()
    lock.acquire(job="loop")
    assert lock.release_and_acquire(timeout=1) is True
    assert lock.acquire() is False


def test_the_lock_excludes():
    lock, inside, most = TimeoutLock(-1), [], []

    def work():
        for _ in range(100):
            with lock.acquire_timeout():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 400


# Pacemaker


class Times:
    """A clock for the module, that only the pacemaker's sleeping moves on."""

    def __init__(self, now):
        self.now = now
        self.slept = []

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def times(monkeypatch):
    clock = Times(1000.3)
    monkeypatch.setattr(ocs_twisted, "time", clock)
    return clock


def test_the_rate_is_kept_over_the_work_in_the_loop(times):
    pace = Pacemaker(10)
    for _ in range(50):
        times.now += 0.07  # the work
        pace.sleep()
    assert times.now == pytest.approx(1000.3 + 5.0)


def test_missed_rounds_are_not_made_up_for(times):
    pace = Pacemaker(10)
    times.now += 1.05
    pace.sleep()
    assert times.now == pytest.approx(1000.3 + 1.1)
    pace.sleep()
    assert times.now == pytest.approx(1000.3 + 1.2)


def test_quantized_rounds_land_on_the_grid_of_the_second(times):
    pace = Pacemaker(4, quantize=True)
    for _ in range(40):
        times.now += 0.03
        pace.sleep()
        assert (times.now * 4) % 1 == pytest.approx(0, abs=1e-6)
    assert times.now == pytest.approx(1010.5, abs=0.3)


@pytest.mark.parametrize("rate", [2.5, 0.5])
def test_only_whole_rates_can_be_quantized(rate):
    with pytest.raises(ValueError, match=str(rate)):
        Pacemaker(rate, quantize=True)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_is_more_than_zero(rate):
    with pytest.raises(ValueError, match="Hz"):
        Pacemaker(rate)


def test_dsleep_waits_in_the_reactor(times):
    clock, pace = Clock(), Pacemaker(2)
    waiting = pace.dsleep(clock)
    clock.advance(0.49)
    assert not waiting.called
    clock.advance(0.02)
    assert waiting.called


# in_reactor_context


def test_the_thread_of_a_blocking_operation_is_not_the_reactors():
    assert in_thread(in_reactor_context, OperationThread) is False


def test_the_reactors_own_thread_is(monkeypatch):
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID())
    assert in_reactor_context() is True


def test_the_main_thread_counts_as_the_reactors_before_there_is_one(monkeypatch):
    monkeypatch.setattr(threadable, "ioThread", None)
    assert in_reactor_context() is True


def test_a_foreign_thread_is_an_error(monkeypatch):
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID())
    assert isinstance(in_thread(in_reactor_context), RuntimeError)


def test_a_thread_of_the_reactors_pool_is_not_the_reactors():
    from twisted.python.threadpool import ThreadPool

    pool = ThreadPool(0, 1)
    from twisted.internet import reactor

    before, reactor.threadpool = reactor.threadpool, pool
    pool.start()
    try:
        answers, done = [], threading.Event()
        pool.callInThread(lambda: (answers.append(in_reactor_context()), done.set()))
        assert done.wait(5)
    finally:
        pool.stop()
        reactor.threadpool = before
    assert answers == [False]
