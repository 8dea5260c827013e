"""What is particular in how the agent service listens."""

import socket

import pytest

from ocs.agent_service.server import _listening, url_of
from ocs.agent_service.settings import Settings
from ocs.errors import AgentServiceError
from ocs.scf.model import HubConfig


def settings(**attributes):
    return Settings(HubConfig({}), **{"port": 0, **attributes})


def test_answers_do_not_wait_for_one_another_s_confirmation():
    with _listening(settings()) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_named():
    with _listening(settings()) as listener:
        port = listener.getsockname()[1]
        with (
            pytest.raises(AgentServiceError, match=f"port {port}: .*another agent service"),
            _listening(settings(port=port)),
        ):
            pass


@pytest.mark.parametrize(
    ("host", "seen"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", socket.gethostname()), ("::1", "[::1]")]
)
def test_the_url_is_one_that_others_reach(host, seen):
    with _listening(settings(host=host)) as listener:
        port = listener.getsockname()[1]
        assert url_of(settings(host=host), listener) == f"http://{seen}:{port}"
