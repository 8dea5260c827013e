"""A site of hosts without a router: see tests/harness/fake_managers.py."""

import pytest
import yaml

from tests.harness.fake_managers import FakeSite


@pytest.fixture
def fake_site():
    """The router's HTTP bridge, with the HostManagers that the test puts there."""
    made = FakeSite()
    with made.bridge:
        yield made
        made.released.set()


@pytest.fixture
def site_args(fake_site, tmp_path):
    """A factory of a site file's arguments: `site_args(h1={"hm-h1": "HostManager", "fake-1": "FakeDataAgent"})`."""

    def make(url=None, **hosts):
        hub = {
            "wamp_server": "ws://127.0.0.1:9/ws",
            "wamp_http": url or fake_site.url,
            "wamp_realm": "test_realm",
            "address_root": "observatory",
        }
        described = {name: {"agent-instances": [_entry(*pair) for pair in own.items()]} for name, own in hosts.items()}
        path = tmp_path / "site.yaml"
        path.write_text(yaml.safe_dump({"hub": hub, "hosts": described}, sort_keys=False))
        return ["--site-file", str(path)]

    return make


def _entry(instance_id, described):
    agent_class, _, manage = described.partition(" ")
    return {"instance-id": instance_id, "agent-class": agent_class, **({"manage": manage} if manage else {})}
