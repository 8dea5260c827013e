"""The sender against real sockets: whatever is at the other end, it ends when it is told to, and shows no secret."""

import socket
import time

import pytest

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
