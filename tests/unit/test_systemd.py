"""Notices to systemd, over real datagram sockets."""

import os
import socket

import pytest

from ocs import systemd


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path, monkeypatch):
    """A socket as systemd listens at, named in the environment."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@ocs-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def test_assignments_come_in_one_message(listener):
    assert systemd.notify("READY=1", "STATUS=2 agents up")
    assert listener.recv(1000) == b"READY=1\nSTATUS=2 agents up"


def test_a_line_break_in_a_value_makes_no_assignment_of_its_own(listener):
    systemd.notify("STATUS=said:\nREADY=1")
    assert listener.recv(1000) == b"STATUS=said: READY=1"


def test_a_value_that_is_no_unicode_is_sent_all_the_same(listener):
    assert systemd.notify("STATUS=\udcff")
    assert listener.recv(1000) == b"STATUS=?"


def test_without_assignments_nothing_is_sent(listener):
    assert not systemd.notify()


@pytest.mark.parametrize("named", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_where_no_systemd_listens_nothing_is_sent(named):
    assert not systemd.notify("READY=1", environ=named)


def test_a_socket_that_has_gone_is_no_error(tmp_path):
    assert not systemd.notify("READY=1", environ={"NOTIFY_SOCKET": str(tmp_path / "gone")})


def test_a_listener_that_does_not_read_holds_nobody_up(listener):
    sent = [systemd.notify("WATCHDOG=1") for _ in range(5000)]
    assert sent[0]
    assert not sent[-1]


@pytest.mark.parametrize(
    ("said", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "\u00b2"}, None),
    ],
)
def test_the_watchdog_wants_a_sign_twice_in_its_time(said, interval):
    assert systemd.watchdog_interval(said) == interval
