"""How the service gets its socket, and what it calls itself."""

import socket
from types import SimpleNamespace

import pytest

from ocs.agent_service.server import _listening, serve, url_of
from ocs.agent_service.settings import Settings
from ocs.errors import AgentServiceError


def settings(**changes):
    return Settings(SimpleNamespace(), **{"port": 0, **changes})


def test_a_free_port_is_told():
    with _listening(settings()) as listener:
        assert url_of(settings(), listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_all_interfaces_are_called_by_the_machines_name(tmp_path):
    told = settings(host="0.0.0.0", tls_cert=tmp_path / "cert.pem")
    with _listening(told) as listener:
        assert url_of(told, listener) == f"https://{socket.gethostname()}:{listener.getsockname()[1]}"


def test_a_port_that_is_taken_is_one_line():
    with _listening(settings()) as listener:
        port = listener.getsockname()[1]
        with (
            pytest.raises(AgentServiceError, match=rf"cannot listen on 127.0.0.1 port {port}: Address already in use"),
            _listening(settings(port=port)),
        ):
            pass


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_one_line(host):
    with (
        pytest.raises(AgentServiceError, match=rf"^cannot listen on {host} port 0: [^\n]+$"),
        _listening(settings(host=host)),
    ):
        pass


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_is_none_is_one_line(tmp_path, content):
    path = tmp_path / "cert.pem"
    if content:
        path.write_text(content)
    with pytest.raises(AgentServiceError, match=r"cert.pem and its key cannot be used: [^\n]+$"):
        serve(settings(tls_cert=path))
