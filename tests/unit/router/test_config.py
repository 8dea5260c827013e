"""The configuration that is made for crossbar."""

import json
from types import SimpleNamespace

import pytest

from ocs.errors import RouterError
from ocs.router.config import (
    MAX_MESSAGE_BYTES,
    META_CALLS,
    crossbar_config,
    http_url,
    listening_address,
    realm,
    write,
    ws_url,
)


def hub(**changes):
    plain = {
        "wamp_server": "ws://127.0.0.1:8001/ws",
        "wamp_http": "http://127.0.0.1:8001/call",
        "wamp_realm": "test_realm",
        "address_root": "observatory",
    }
    return SimpleNamespace(**{**plain, **changes})


def transport(config):
    return config["workers"][0]["transports"][0]


def roles(config):
    return {role["name"]: role["permissions"] for role in config["workers"][0]["realms"][0]["roles"]}


def test_serves_the_hub_s_urls_and_realm():
    config = crossbar_config(hub(wamp_server="ws://localhost:8017/wamp", wamp_http="http://localhost:8017/rpc"))
    assert ws_url(config) == "ws://127.0.0.1:8017/wamp"
    assert http_url(config) == "http://127.0.0.1:8017/rpc"
    assert realm(config) == "test_realm"


def test_everything_outside_the_address_root_is_closed_but_questions_to_the_router():
    permissions = roles(crossbar_config(hub(address_root="simons")))["anonymous"]
    open_to_all = [entry for entry in permissions if entry["match"] == "prefix"]
    assert [entry["uri"] for entry in open_to_all] == ["simons."]
    assert all("register" not in entry["allow"] for entry in permissions if entry["match"] == "exact")


def test_questions_that_change_something_are_closed():
    assert not [uri for uri in META_CALLS if "kill" in uri or "remove" in uri]


def test_callers_by_http_may_only_call():
    config = crossbar_config(hub())
    role = transport(config)["paths"]["call"]["role"]
    assert all(entry["allow"] == {"call": True} for entry in roles(config)[role])


def test_tells_who_called_and_who_published():
    permissions = roles(crossbar_config(hub()))["anonymous"]
    assert all(entry["disclose"] == {"caller": True, "publisher": True} for entry in permissions)


def test_a_message_may_be_larger_than_autobahn_s_mebibyte():
    options = transport(crossbar_config(hub()))["paths"]["ws"]["options"]
    assert options["max_message_size"] == options["max_frame_size"] == MAX_MESSAGE_BYTES > 1024**2


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_loopback_hub_is_served_on_loopback_only(name):
    config = crossbar_config(hub(wamp_server=f"ws://{name}:8001/ws", wamp_http=f"http://{name}:8001/call"))
    assert transport(config)["endpoint"]["interface"] == "127.0.0.1"


def test_a_hub_by_another_name_is_served_on_all_interfaces():
    config = crossbar_config(hub(wamp_server="ws://daq-1:8001/ws", wamp_http="http://daq-1:8001/call"))
    assert "interface" not in transport(config)["endpoint"]
    assert listening_address(config) == ("127.0.0.1", 8001)


def test_port_and_host_given_win_over_the_hub():
    config = crossbar_config(hub(), host="10.0.0.1", port=9000)
    assert listening_address(config) == ("10.0.0.1", 9000)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"wamp_server": "wss://127.0.0.1:8001/ws"}, "wamp_server"),
        ({"wamp_server": "ws://127.0.0.1/ws"}, "wamp_server"),
        ({"wamp_server": "ws://127.0.0.1:eight/ws"}, "wamp_server"),
        ({"wamp_server": None}, "wamp_server"),
        ({"wamp_http": "http://127.0.0.1:8001"}, "wamp_http"),
        ({"wamp_http": "http://127.0.0.1:8002/call"}, "8002"),
        ({"wamp_http": "http://127.0.0.1:8001/ws"}, "different"),
        ({"wamp_http": "http://127.0.0.1:8001/info"}, "/info"),
        ({"wamp_server": "ws://127.0.0.1:8001/a/b"}, "/a/b"),
        ({"wamp_realm": None}, "wamp_realm"),
        ({"address_root": ""}, "address_root"),
    ],
)
def test_a_hub_that_cannot_be_served_is_refused_naming_the_key(changes, named):
    with pytest.raises(RouterError, match=named):
        crossbar_config(hub(**changes))


@pytest.mark.parametrize("config", [{}, {"workers": []}, {"workers": [{"type": "router", "transports": []}]}])
def test_a_configuration_of_another_make_is_refused(config):
    with pytest.raises(RouterError, match=r"no worker|no transport"):
        listening_address(config)


def test_is_written_where_there_was_no_folder(tmp_path):
    path = write(crossbar_config(hub()), tmp_path / "a" / "b")
    assert json.loads(path.read_text()) == crossbar_config(hub())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RouterError, match="file"):
        write(crossbar_config(hub()), tmp_path / "file")
