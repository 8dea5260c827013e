"""Receiving datagrams among the faults of real life: kills at any moment, and disks that are full, slow or gone."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from ocs.agents.pysmurf_monitor.arrivals import unpack_arrival
from ocs.agents.pysmurf_monitor.receiver_socket import open_socket
from ocs.journal import Follower
from tests.harness.pysmurf import announce, is_bound
from tests.harness.receiver_program import ReceiverProgram, arrivals, numbered, texts
from tests.harness.recording.disk import NO_SPACE, READ_ONLY, CannotTest, Shim, SmallDisk
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.faults

ROUNDS = 6


def cannot(reason):
    say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    say(str(reason))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "disk" / "journal"


@pytest.fixture
def small_disk(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "disk", 4)
    except CannotTest as reason:
        cannot(reason)
    yield disk
    subprocess.run(["umount", "-l", str(disk.folder)], check=True)


@pytest.fixture
def shim(tmp_path):
    (tmp_path / "disk").mkdir()
    try:
        return Shim(tmp_path / "disk", tmp_path)
    except CannotTest as reason:
        cannot(reason)


# Kills.


class Stream:
    """A publisher that never stops, until the block's end."""

    def __init__(self, port):
        self.sent = 0
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.002):
            announce(self._port, *numbered(self.sent, self.sent + 10, size=200))
            self.sent += 10


def test_what_a_killed_receiver_has_written_is_followed_each_once(folder):
    follower, followed = Follower(folder), []
    with closing(open_socket("127.0.0.1", 0, 4 << 20)) as held, Stream(held.getsockname()[1]) as stream:
        written = 0
        for _ in range(ROUNDS):
            with ReceiverProgram(folder, "--first-index", str(written), fd=held.fileno()) as receiver:
                goal = written + 300
                receiver.reports_that(lambda report: report["written"] >= goal)  # noqa: B023  waited for at once
                followed += follower.read(100)
            written = receiver.last["written"]
        stream.__exit__()
        with ReceiverProgram(folder, "--first-index", str(written), fd=held.fileno()) as receiver:
            assert receiver.port
            receiver.finish()
        sent = stream.sent
    while entries := follower.read(100):
        followed += entries
    follower.close()
    assert [entry.index for entry in followed] == list(range(receiver.last["written"]))
    numbers = [int(unpack_arrival(entry.body).data[:8]) for entry in followed]
    assert numbers == sorted(set(numbers))
    # Not there is only what was in the hands of one that was killed.
    assert len(numbers) >= sent - ROUNDS * 512
    assert numbers[-1] == sent - 1


AGENT = """
import logging, sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from ocs.agents.pysmurf_monitor.receiving import Receiving

async def run():
    port = await receiving.ready()
    print(port, receiving._process.transport.pid, flush=True)

options = {"bind": "127.0.0.1", "port": 0, "journal_bytes": 1 << 30, "socket_bytes": 4 << 20}
receiving = Receiving(reactor, Path(sys.argv[1]), **options, on_news=lambda: None, log=logging.getLogger())
receiving.start()
reactor.callWhenRunning(lambda: ensureDeferred(run()))
reactor.run()
"""


def test_when_the_agent_is_killed_with_its_group_what_is_in_the_socket_reaches_the_journal(folder):
    command = [sys.executable, "-c", AGENT, str(folder)]
    agent = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    port, receiver = map(int, agent.stdout.readline().split())
    os.kill(receiver, signal.SIGSTOP)
    announce(port, *numbered(0, 1000))
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    os.kill(receiver, signal.SIGCONT)
    wait_for(lambda: not is_bound(port), timeout=30)
    wait_for(lambda: len(texts(folder)) == 1000, timeout=30)
    assert texts(folder) == numbered(0, 1000)
    with ReceiverProgram(folder) as successor:  # gets the journal as soon as it is free
        announce(successor.port, b"next")
        successor.has(written=1001)


# Disks.


def test_a_full_disk_makes_datagrams_wait_and_they_are_written_when_there_is_room(small_disk, folder):
    with ReceiverProgram(folder) as receiver:
        announce(receiver.port, b"before")
        receiver.has(written=1)
        small_disk.fill()
        for begin in range(0, 500, 100):
            announce(receiver.port, *numbered(begin, begin + 100, size=1000))
            receiver.has(received=begin + 101)
        trouble = receiver.reports_that(lambda report: report["trouble"])["trouble"]
        assert "No space left" in trouble
        assert "wait in memory" in trouble
        small_disk.free()
        receiver.has(written=501, trouble="", waiting_bytes=0)
        assert receiver.last["dropped"] == 0
        assert texts(folder) == [b"before", *numbered(0, 500, size=1000)]


def test_a_receiver_that_begins_on_a_full_disk_waits_for_room(small_disk, folder):
    small_disk.fill()
    with ReceiverProgram(folder) as receiver:
        announce(receiver.port, *numbered(0, 50))
        receiver.reports_that(lambda report: report["received"] == 50 and report["trouble"])
        small_disk.free()
        receiver.has(written=50, trouble="")
    assert texts(folder) == numbered(0, 50)


def test_a_full_disk_is_freed_by_what_the_agent_lets_go(small_disk, folder):
    with ReceiverProgram(folder, "--journal-bytes", str(2 << 20)) as receiver:
        for begin in range(0, 1000, 100):
            announce(receiver.port, *numbered(begin, begin + 100, size=1000))
            receiver.has(written=begin + 100)
        small_disk.fill()
        announce(receiver.port, *numbered(1000, 1200, size=1000))
        receiver.reports_that(lambda report: report["trouble"])
        receiver.order("drop 900\n")
        receiver.has(written=1200, trouble="")
    assert texts(folder, 900) == numbered(900, 1200, size=1000)


@pytest.mark.parametrize(("refusal", "text"), [(READ_ONLY, "Read-only"), (NO_SPACE, "No space left")])
def test_a_disk_that_refuses_all_for_a_while_costs_nothing(shim, folder, refusal, text):
    with ReceiverProgram(folder, env=shim.environment) as receiver:
        announce(receiver.port, b"before")
        receiver.has(written=1)
        shim.set(refuse=refusal)
        announce(receiver.port, *numbered(0, 100))
        assert text in receiver.reports_that(lambda report: report["trouble"])["trouble"]
        shim.set()
        receiver.has(written=101, trouble="")
        receiver.finish()
    assert texts(folder) == [b"before", *numbered(0, 100)]


def test_a_receiver_whose_folder_is_read_only_at_its_start_waits(shim, folder):
    shim.set(refuse=READ_ONLY)
    with ReceiverProgram(folder, env=shim.environment) as receiver:
        announce(receiver.port, *numbered(0, 100))
        trouble = receiver.reports_that(lambda report: report["received"] == 100 and report["trouble"])["trouble"]
        assert str(folder) in trouble
        shim.set()
        receiver.has(written=100, trouble="")
    assert texts(folder) == numbered(0, 100)


def test_a_slow_disk_holds_no_datagram_up(shim, folder):
    """While one sync takes seconds, far more come than the socket's buffer could hold."""
    with ReceiverProgram(folder, "--socket-bytes", str(64 << 10), env=shim.environment) as receiver:
        shim.set(sync_delay=2.0)
        announce(receiver.port, b"before")
        receiver.has(written=1)
        for begin in range(0, 2000, 50):
            announce(receiver.port, *numbered(begin, begin + 50, size=500))
            receiver.has(received=begin + 51)
        assert receiver.last["kernel_drops"] == 0
        shim.set()
        receiver.has(written=2001)
    assert texts(folder)[1:] == numbered(0, 2000, size=500)


def test_a_folder_that_is_deleted_under_the_receiver_is_made_again(folder):
    with ReceiverProgram(folder) as receiver:
        announce(receiver.port, b"before")
        receiver.has(written=1)
        shutil.rmtree(folder)
        announce(receiver.port, b"after")
        wait_for(lambda: texts(folder)[-1:] == [b"after"], timeout=30)
        assert arrivals(folder)[-1][0] == 1
