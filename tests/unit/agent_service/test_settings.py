"""What the agent service is told: which addresses are this machine's own, and where keys are."""

import pytest

from ocs.agent_service.settings import default_key_folder, is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_what_no_other_machine_reaches(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "[::]", "192.168.1.7", "127.0.0.1.example.org", "localhost.org"])
def test_what_others_may_reach(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"OCS_CONFIG_DIR": "/etc/ocs", "XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/etc/ocs/agent-service-keys"),
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/ocs/agent-service-keys"),
        ({"HOME": "/h"}, "/h/.config/ocs/agent-service-keys"),
    ],
)
def test_where_keys_are(monkeypatch, environment, folder):
    for name in ("OCS_CONFIG_DIR", "XDG_CONFIG_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(default_key_folder()) == folder
