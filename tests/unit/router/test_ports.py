"""Ports that are free, and ports that are not."""

import os
import socket

import pytest

from ocs.errors import RouterError
from ocs.router.ports import busy_url, free_port, require_port


def test_a_free_port_can_be_listened_at():
    require_port("127.0.0.1", free_port())


def test_a_free_port_is_none_that_outgoing_connections_take():
    assert all(20_000 <= free_port() < 32_768 for _ in range(20))


def test_a_busy_port_is_refused_with_number_holder_and_remedy():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RouterError) as error:
            require_port("127.0.0.1", port)
    assert all(text in str(error.value) for text in (str(port), f"pid {os.getpid()}", "--port"))


def test_a_port_just_closed_is_free_again():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    require_port("127.0.0.1", port)


def test_an_address_of_no_interface_here_is_not_called_busy():
    with pytest.raises(RouterError, match=r"no interface .* 192\.0\.2\.1"):
        require_port("192.0.2.1", 8001)


def test_busy_url_names_the_port():
    assert "8001" in busy_url("ws://127.0.0.1:8001/ws")
