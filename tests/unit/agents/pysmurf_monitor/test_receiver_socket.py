"""The socket that datagrams come to: real ones, on the loopback interface."""

import socket
from contextlib import closing, suppress

import pytest

from ocs.agents.pysmurf_monitor.receiver_socket import (
    buffer_bytes,
    buffer_warning,
    kernel_drops,
    open_socket,
)
from ocs.errors import ReceiverError
from tests.harness.pysmurf import announce

LOOPBACK = "127.0.0.1"


def port_of(opened):
    return opened.getsockname()[1]


def taken(opened):
    count = 0
    with suppress(BlockingIOError):
        while True:
            opened.recv(65535)
            count += 1
    return count


@pytest.mark.parametrize(("bind", "sent_to"), [("127.0.0.1", LOOPBACK), ("localhost", LOOPBACK), ("", LOOPBACK)])
def test_datagrams_come_to_the_address_that_was_asked_for(bind, sent_to):
    with closing(open_socket(bind, 0, 1 << 16)) as opened:
        announce(port_of(opened), b"hello", host=sent_to)
        assert opened.recv(100) == b"hello"


@pytest.mark.parametrize(
    ("bind", "family", "sent_to"), [("::1", socket.AF_INET6, "::1"), ("::", socket.AF_INET, LOOPBACK)]
)
def test_ipv6_takes_its_own_and_all_addresses_are_those_of_ipv4_too(bind, family, sent_to):
    with closing(open_socket(bind, 0, 1 << 16)) as opened, closing(socket.socket(family, socket.SOCK_DGRAM)) as sender:
        sender.sendto(b"hello", (sent_to, port_of(opened)))
        assert opened.recv(100) == b"hello"


def test_a_port_that_is_taken_is_named_with_the_way_out():
    with closing(open_socket(LOOPBACK, 0, 1 << 16)) as first:
        port = port_of(first)
        with pytest.raises(ReceiverError) as caught:
            open_socket(LOOPBACK, port, 1 << 16)
    text = str(caught.value)
    assert f"UDP port {port} of {LOOPBACK}" in text
    assert "choose another port" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("bind", "port", "text"),
    [
        ("192.0.2.1", 0, "does not have the address"),
        ("no-such-host", 0, "not an address"),
        ("1.2.3.4.5", 0, "not an address"),
        ("x" * 300, 0, "not an address"),
        ("ü.example", 0, "not an address"),
        (LOOPBACK, 70000, "70000"),
        (LOOPBACK, -1, "-1"),
    ],
)
def test_what_cannot_be_bound_is_told_in_one_line(bind, port, text):
    with pytest.raises(ReceiverError) as caught:
        open_socket(bind, port, 1 << 16)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_buffer_is_as_large_as_the_system_gives():
    with closing(open_socket(LOOPBACK, 0, 128 << 10)) as opened:
        assert buffer_bytes(opened) == 2 * (128 << 10)  # the kernel's own part is counted too


def test_the_kernels_drops_are_all_that_did_not_fit():
    with closing(open_socket(LOOPBACK, 0, 8 << 10)) as opened:
        assert kernel_drops(opened) == 0
        announce(port_of(opened), *[b"x" * 500] * 200)
        drops = kernel_drops(opened)
        assert 0 < drops < 200
        assert taken(opened) + drops == 200


def test_a_small_buffer_is_warned_of_with_the_setting_and_its_value():
    warning = buffer_warning(212_992, 64 << 20)
    assert "208 KiB" in warning
    assert "net.core.rmem_max=67108864" in warning
    assert "\n" not in warning


@pytest.mark.parametrize(("given", "wanted"), [(128 << 20, 64 << 20), (16 << 20, 64 << 20), (212_992, 106_496)])
def test_no_warning_of_a_buffer_that_is_large_or_as_small_as_was_asked_for(given, wanted):
    assert buffer_warning(given, wanted) == ""
