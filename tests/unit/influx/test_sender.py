"""The sender against real sockets: whatever is at the other end, it ends when it is told to, and shows no secret."""

import socket
import threading
import time

import pytest

from ocs.influx.delivery import BATCH_BYTES
from ocs.influx.sender import Sender
from ocs.influx.server import server_v1, server_v2
from ocs.influx.spool import Spool
from tests.harness.recording_server import RecordingServer
from tests.harness.waiting import wait_for


@pytest.fixture
def silent():
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def deaf():
    """A server that does not even take connections: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server
        for one in waiting:
            one.close()


def waiting_spool():
    spool = Spool(None)
    spool.put(b"m,feed=f x=1i 1", 1)
    return spool


@pytest.mark.parametrize("kind", ["silent", "deaf"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_stop_ends_it_whatever_the_server_does(request, kind, tls):
    server = server_v1(*request.getfixturevalue(kind).getsockname(), "feeds", ssl=tls)
    spool = waiting_spool()
    sender = Sender(spool, server)
    sender.start()
    time.sleep(0.2)  # it is in the middle of it
    began = time.monotonic()
    sender.stop()
    assert time.monotonic() - began < 3  # two seconds, and a busy machine
    assert spool.waiting == 1


def test_a_token_that_cannot_be_sent_is_not_shown():
    told = []
    with RecordingServer(lambda asked: (204, {}, b"")) as there:
        server = server_v2("127.0.0.1", there.port, "b", token="se\ncret", org="so")
        sender = Sender(waiting_spool(), server, tell=told.append)
        sender.start()
        trouble = wait_for(lambda: sender.state.trouble)
        sender.stop()
    assert "look at the host, the path and the credentials" in trouble
    assert "cret" not in trouble + "".join(told)


def test_nothing_that_a_server_answers_ends_the_sending():
    answers = [(400, {}, b"partial write: dropped=999999999999999999999"), (418, {}, b"\xff\x00"), (204, {}, b"")]
    with RecordingServer(lambda asked: answers.pop(0) if len(answers) > 1 else answers[0]) as server:
        spool = waiting_spool()
        sender = Sender(spool, server_v1("127.0.0.1", server.port, "feeds"))
        sender.start()
        wait_for(lambda: len(server.asked) >= 3 or not spool.waiting)
        sender.stop()
        assert spool.waiting == 0


MUCH = b"m,feed=f x=1i 1\n" * 15_000  # 240 kB
WRITTEN = (204, {}, b"")


def much_waits(bodies):
    """A spool with more than a batch holds, each entry with a point of its own."""
    spool = Spool(None)
    for number in range(bodies):
        spool.put(MUCH + f"m,feed=f x=1i {number}".encode(), 15_001)
    return spool


def sent(asked):
    return [request.body for request in asked if request.body]


def numbers(bodies):
    return [int(line.rpartition(b" ")[2]) for body in bodies for line in body.split(b"\n") if not line.endswith(b" 1")]


def test_where_much_waits_two_batches_are_on_their_way_at_a_time():
    both = threading.Barrier(2, timeout=20)

    def answer(asked):
        if asked.body and len(sent(server.asked)) in (2, 3):  # the first one goes alone: is the database there at all?
            both.wait()
        return WRITTEN

    with RecordingServer(answer) as server:
        spool = much_waits(4 * BATCH_BYTES // len(MUCH))
        sender = Sender(spool, server_v1("127.0.0.1", server.port, "feeds"))
        sender.start()
        wait_for(lambda: not spool.waiting, timeout=40)
        sender.stop()
    assert not both.broken
    assert sender.state.points == sum(body.count(b"\n") + 1 for body in sent(server.asked))


@pytest.mark.parametrize("refusal", [(500, {}, b"busy"), (413, {}, b"too long")])
def test_what_a_server_will_not_take_two_at_a_time_is_sent_one_after_the_other(refusal):
    under_way = threading.Semaphore(1)

    def answer(asked):
        if not asked.body:
            return WRITTEN
        if not under_way.acquire(blocking=False):
            return refusal
        try:
            time.sleep(0.05)  # so that the other one comes meanwhile
            return WRITTEN
        finally:
            under_way.release()

    bodies = 4 * BATCH_BYTES // len(MUCH)
    with RecordingServer(answer) as server:
        spool = much_waits(bodies)
        sender = Sender(spool, server_v1("127.0.0.1", server.port, "feeds"))
        sender.start()
        wait_for(lambda: not spool.waiting, timeout=60)
        sender.stop()
    assert set(numbers(sent(server.asked))) >= set(range(2, bodies))
    assert sender.state.points == bodies * 15_001
    assert sender.state.dropped == {}
