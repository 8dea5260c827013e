"""The configuration of a closed router."""

import time
from types import SimpleNamespace

import pytest

from ocs.errors import KeysError, RouterError
from ocs.keys.making import make_site
from ocs.keys.table import ROLES
from ocs.router.closed import closed_config
from ocs.router.config import http_url, listening_address, ws_url

HUB = {
    "wamp_server": "wss://daq.example:8001/ws",
    "wamp_http": "https://daq.example:8001/call",
    "wamp_realm": "test_realm",
    "address_root": "observatory",
}


@pytest.fixture
def keys(tmp_path):
    make_site(tmp_path, [], ["daq.example"], time.time())
    return tmp_path


def config(keys, **hub):
    return closed_config(SimpleNamespace(**{**HUB, **hub}), keys)


def test_it_asks_for_a_key_and_gives_no_rights_by_itself(keys):
    made = config(keys)
    worker = made["workers"][0]
    paths = worker["transports"][0]["paths"]
    assert list(paths["ws"]["auth"]) == ["cryptosign"]
    assert [role["name"] for role in worker["realms"][0]["roles"]] == list(ROLES)
    assert all(role["permissions"] == [] for role in worker["realms"][0]["roles"])
    assert set(paths) == {"ws", "call", "site", "/"}
    assert paths["call"]["type"] == "resource"


def test_its_urls_are_those_of_tls(keys):
    made = config(keys)
    assert ws_url(made) == "wss://127.0.0.1:8001/ws"
    assert http_url(made) == "https://127.0.0.1:8001/call"
    assert listening_address(made) == ("127.0.0.1", 8001)
    assert "interface" not in made["workers"][0]["transports"][0]["endpoint"]


@pytest.mark.parametrize(
    ("key", "url"), [("wamp_server", "ws://daq.example:8001/ws"), ("wamp_http", "http://daq.example:8001/call")]
)
def test_without_tls_it_is_not_served(keys, key, url):
    with pytest.raises(RouterError, match=f"{key}.*with keys"):
        config(keys, **{key: url})


def test_it_needs_a_table(tmp_path):
    with pytest.raises(KeysError, match="ocs keys init"):
        config(tmp_path)


@pytest.mark.parametrize(("missing", "told"), [("server.crt", "ocs keys init"), ("server.key", "server.key")])
def test_it_needs_a_certificate(keys, missing, told):
    (keys / missing).unlink()
    with pytest.raises(KeysError, match=told):
        config(keys)
