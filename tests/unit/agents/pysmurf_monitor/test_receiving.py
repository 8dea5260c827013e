"""The agent's side of the receiver, with real processes on the tests' reactor."""

import os
import signal
import socket
from contextlib import closing

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from ocs.agents.pysmurf_monitor import receiving as module
from ocs.agents.pysmurf_monitor.receiver_status import ReceiverStatus, Tally
from ocs.agents.pysmurf_monitor.receiving import ReceiverError
from tests.harness.pysmurf import announce, is_bound
from tests.harness.receiver_program import arrivals, numbered, texts
from tests.harness.receiving import Received


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def make_received(folder):
    made = []

    def make(**options):
        made.append(Received(folder, **options))
        return made[-1]

    yield make
    for received in made:
        pytest_twisted.blockon(received.receiving.stop())


@pytest_twisted.ensureDeferred
async def test_it_tells_of_news_when_datagrams_are_in_the_journal(make_received, folder):
    received = make_received()
    port = await received.begin()
    announce(port, *numbered(0, 100))
    await received.until(lambda: received.status.written == 100)
    assert received.news >= 1
    assert texts(folder) == numbered(0, 100)
    assert received.status.running
    assert received.status.received == 100
    assert (received.status.port, received.status.trouble, received.status.restarts) == (port, "", 0)
    assert received.status.buffer_bytes > 0


@pytest_twisted.ensureDeferred
async def test_stopping_takes_all_that_is_in_the_socket(make_received, folder):
    received = make_received()
    port = await received.begin()
    os.kill(received.pid, signal.SIGSTOP)
    announce(port, *numbered(0, 1000))
    stopped = received.receiving.stop()
    os.kill(received.pid, signal.SIGCONT)
    await stopped
    assert texts(folder) == numbered(0, 1000)
    assert not received.status.running
    assert not is_bound(port)
    await received.receiving.stop()


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_is_killed_is_replaced_and_the_socket_loses_nothing(make_received, folder):
    received = make_received()
    port = await received.begin()
    announce(port, *numbered(0, 10))
    await received.until(lambda: received.status.written == 10)
    os.kill(received.pid, signal.SIGSTOP)
    announce(port, *numbered(10, 20))
    os.kill(received.pid, signal.SIGKILL)
    await received.until(lambda: not received.status.running)
    announce(port, *numbered(20, 30))
    await received.until(lambda: received.status.written == 30)
    assert texts(folder) == numbered(0, 30)
    assert received.status.restarts == 1
    assert received.status.received == 30
    assert received.status.trouble == ""
    assert any("has ended (signal 9)" in line for line in received.log.lines)


@pytest_twisted.ensureDeferred
async def test_one_that_cannot_run_is_told_with_its_last_words_and_tried_again(make_received, monkeypatch):
    monkeypatch.setattr(module, "_MODULE", "ocs.no_such_module")
    received = make_received()
    with pytest.raises(ReceiverError, match=r"exit code 1.*No module named ocs\.no_such_module"):
        await received.begin()
    with pytest.raises(ReceiverError):
        await received.receiving.ready()
    assert "another is started" in received.status.trouble
    monkeypatch.undo()
    await received.until(lambda: received.status.running)
    assert await received.receiving.ready() == received.status.port
    assert received.status.trouble == ""


@pytest_twisted.ensureDeferred
async def test_a_port_in_use_is_told_once_and_taken_when_it_is_free(make_received, monkeypatch):
    monkeypatch.setattr(module, "_QUIET", 0.0)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        received = make_received(port=port)
        with pytest.raises(ReceiverError, match=f"UDP port {port} of 127.0.0.1 .* choose another port"):
            await received.begin()
        assert str(port) in received.status.trouble
        assert not received.status.running
    await received.until(lambda: received.status.running)
    assert received.status.port == port
    assert len([line for line in received.log.lines if "choose another port" in line]) == 1


@pytest_twisted.ensureDeferred
async def test_a_port_that_a_predecessor_gives_back_at_once_is_no_trouble(make_received):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
        other.bind(("127.0.0.1", 0))
        received = make_received(port=other.getsockname()[1])
        received.receiving.start()
    assert await received.receiving.ready() == received.status.port
    assert not any("port" in line for line in received.log.lines)


@pytest_twisted.ensureDeferred
async def test_an_address_of_another_machine_is_told_at_once(make_received):
    received = make_received(bind="192.0.2.1")
    with pytest.raises(ReceiverError, match=r"192.0.2.1.*--bind"):
        await received.begin()


@pytest_twisted.ensureDeferred
async def test_numbers_begin_where_reading_goes_on(make_received, folder):
    received = make_received()
    received.receiving.drop_before(777)
    port = await received.begin()
    announce(port, b"first")
    await received.until(lambda: received.status.received == 1 and received.status.written == 778)
    assert [index for index, _ in arrivals(folder, 777)] == [777]


@pytest_twisted.ensureDeferred
async def test_what_is_let_go_while_it_runs_is_deleted(make_received, folder):
    received = make_received(journal_bytes=1 << 20)
    port = await received.begin()
    for begin in range(0, 400, 100):
        announce(port, *numbered(begin, begin + 100, size=1000))
        await received.until(lambda end=begin + 100: received.status.written == end)
    before = len(list(folder.glob("*.journal")))
    received.receiving.drop_before(390)
    await received.until(lambda: len(list(folder.glob("*.journal"))) < before)


@pytest_twisted.ensureDeferred
async def test_stopping_before_or_while_it_begins_leaves_nothing(make_received):
    never = make_received()
    await never.receiving.stop()
    received = make_received()
    received.receiving.start()
    ready = ensureDeferred(received.receiving.ready())
    await received.receiving.stop()
    with pytest.raises(ReceiverError, match="stopped"):
        await ready
    assert not received.status.running


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_does_not_come_to_its_end_is_left_behind(make_received, monkeypatch):
    """Its disk may hang; it is served and ends some time, without the agent."""
    monkeypatch.setattr(module, "_STOP_PATIENCE", 0.1)
    received = make_received()
    await received.begin()
    pid = received.pid
    os.kill(pid, signal.SIGSTOP)
    await received.receiving.stop()
    assert any("ends by itself" in line for line in received.log.lines)
    os.kill(pid, signal.SIGCONT)
    await received.until(lambda: not is_bound(received.status.port))


@pytest_twisted.ensureDeferred
async def test_the_kernels_drops_are_told_once_in_a_while(make_received):
    received = make_received(socket_bytes=8192)
    port = await received.begin()
    os.kill(received.pid, signal.SIGSTOP)
    announce(port, *numbered(0, 500, size=500))
    os.kill(received.pid, signal.SIGCONT)
    await received.until(lambda: received.status.kernel_drops + received.status.received == 500)
    assert received.status.kernel_drops > 0
    assert len([line for line in received.log.lines if "the kernel had no room" in line]) == 1


# The figures.


RUNS = st.lists(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=6), max_size=4)


@given(RUNS, st.integers(0, 100))
def test_counts_go_on_over_receivers_that_are_killed_without_a_word(runs, earlier):
    """Each step of a run takes some datagrams, and is reported or not; of the last run all is heard."""
    tally, status = Tally(), ReceiverStatus()
    written, first = earlier, None
    for steps in [*runs, [(1, True)]]:
        tally.begin()
        begin = written
        for more, is_reported in steps:
            written += more
            if is_reported:
                status = tally.merge(status, {"received": written - begin, "written": written, "dropped": 0})
                first = begin if first is None else first  # of those before nothing was heard: they may be older
    assert status.written == written
    assert status.received == written - first


def test_what_a_killed_receiver_has_written_without_a_word_is_counted():
    tally, status = Tally(), ReceiverStatus()
    tally.begin()
    status = tally.merge(status, {"received": 3, "written": 103, "dropped": 0})
    assert status.received == 3
    tally.begin()
    status = tally.merge(status, {"received": 2, "written": 110, "dropped": 0})
    assert status.received == 10


def test_written_never_goes_back():
    tally, status = Tally(), ReceiverStatus()
    tally.begin()
    status = tally.merge(status, {"received": 3, "written": 103, "dropped": 0})
    status = tally.merge(status, {"received": 3, "written": 100, "dropped": 0})
    assert status.written == 103
