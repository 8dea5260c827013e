"""The keys of a run: made where that is wanted, else missed by name."""

import pytest
import yaml

from ocs.errors import KeysError, RouterError
from ocs.keys.finding import key_path
from ocs.keys.table import SiteTable
from ocs.up.closed import keys_needed, require_known_keys
from ocs.up.hub import Choice, Hub

HUB = Hub("wss://127.0.0.1:8001/ws", "https://127.0.0.1:8001/call", "test_realm", "observatory")
AGENTS = ["hm-here", "fake-1"]


@pytest.fixture
def site_file(tmp_path):
    instances = [
        {"agent-class": "HostManager", "instance-id": "hm-here"},
        {"agent-class": "FakeDataAgent", "instance-id": "fake-1"},
    ]
    hub = {name: getattr(HUB, name) for name in ("wamp_server", "wamp_http", "wamp_realm", "address_root")}
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump({"hub": hub, "hosts": {"here": {"agent-instances": instances}}}))
    return path


def closed(tmp_path):
    return HUB.closed_with(str(tmp_path / "keys"))


def test_an_open_site_needs_no_keys():
    assert keys_needed(HUB, AGENTS, make=False) is None


def test_what_is_missing_is_made_once_and_told(tmp_path, site_file):
    needed = keys_needed(closed(tmp_path), AGENTS, make=True)
    assert needed.settle(site_file) == [f"made 4 keys in {tmp_path / 'keys'}"]
    table = SiteTable.read(needed.folder)
    assert {each.role for each in table.identities.values()} == {"agent", "client", "observer"}
    assert needed.settle(site_file) == []
    assert SiteTable.read(needed.folder) == table


def test_without_being_asked_nothing_is_made_and_the_file_that_is_missing_is_named(tmp_path, site_file):
    needed = keys_needed(closed(tmp_path), AGENTS, make=False)
    with pytest.raises(KeysError, match=r"no .*/keys/private/hm-here\.key: `ocs up --secure` makes"):
        needed.settle(site_file)
    assert not needed.folder.exists()


@pytest.mark.parametrize("missing", [*AGENTS, "client"])
def test_each_agent_here_and_we_ourselves_need_a_key(tmp_path, site_file, missing):
    keys_needed(closed(tmp_path), AGENTS, make=True).settle(site_file)
    needed = keys_needed(closed(tmp_path), AGENTS, make=False)
    assert needed.settle(site_file) == []
    key_path(needed.folder, missing).unlink()
    with pytest.raises(KeysError, match=f"{missing}.key"):
        needed.settle(site_file)


def test_a_router_that_runs_is_not_closed_by_keys_that_it_does_not_know(tmp_path):
    found, wanted = HUB, closed(tmp_path)
    require_known_keys(found, wanted, Choice.START)
    require_known_keys(wanted, wanted, Choice.USE)
    require_known_keys(found, found, Choice.USE)
    with pytest.raises(RouterError, match="cannot be closed by --secure"):
        require_known_keys(found, wanted, Choice.USE)
