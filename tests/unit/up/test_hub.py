"""Where the router is, and who starts it."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from ocs.errors import RouterError
from ocs.site_config import SiteConfig
from ocs.up.closed import access_notes, closed_hub
from ocs.up.hub import Choice, Found, Hub, choose_router, hub_of, is_local

HUB = Hub("ws://127.0.0.1:8001/ws", "http://127.0.0.1:8001/call", "test_realm", "observatory")
OF_THE_SITE = {"port": None, "no_router": False, "own": False, "demo": False, "local": True, "address": HUB.wamp_server}


@pytest.mark.parametrize(
    ("found", "case", "choice"),
    [
        (Found.NOTHING, {}, Choice.START),
        (Found.NOTHING, {"own": True}, Choice.START),
        (Found.NOTHING, {"demo": True, "own": True}, Choice.START),
        (Found.ROUTER, {}, Choice.USE),
        (Found.ROUTER, {"no_router": True}, Choice.USE),
        (Found.ROUTER, {"no_router": True, "own": True}, Choice.USE),
        (Found.ROUTER, {"local": False}, Choice.USE),
        (Found.ROUTER, {"demo": True, "own": True}, Choice.START_ELSEWHERE),
        (Found.SOMETHING, {"demo": True, "own": True}, Choice.START_ELSEWHERE),
        (Found.ROUTER, {"port": "auto"}, Choice.START_ELSEWHERE),
        (Found.ROUTER, {"port": 9000, "own": True}, Choice.START),
        (Found.SOMETHING, {"port": 9000}, Choice.START),
    ],
)
def test_what_is_done_about_the_router(found, case, choice):
    assert choose_router(found, **OF_THE_SITE | case) is choice


@pytest.mark.parametrize(
    ("found", "case", "words"),
    [
        (Found.SOMETHING, {}, "--port"),
        (Found.SOMETHING, {"own": True}, "--port"),
        (Found.ROUTER, {"own": True}, "--no-router"),
        (Found.NOTHING, {"no_router": True}, "leave out --no-router"),
        (Found.NOTHING, {"local": False}, "another machine"),
        (Found.NOTHING, {"local": False, "own": True, "port": 9000}, "another machine"),
    ],
)
def test_where_there_is_no_way_the_message_has_address_and_remedy(found, case, words):
    with pytest.raises(RouterError, match=words) as error:
        choose_router(found, **OF_THE_SITE | case)
    assert HUB.wamp_server in str(error.value)
    assert "\n" not in str(error.value)


def test_the_demonstration_always_finds_a_place():
    for found, port in itertools.product(Found, (None, "auto")):
        assert choose_router(found, **OF_THE_SITE | {"demo": True, "own": True, "port": port}) is not Choice.USE


def test_a_port_changes_both_addresses():
    moved = HUB.at_port(9)
    assert (moved.wamp_server, moved.wamp_http) == ("ws://127.0.0.1:9/ws", "http://127.0.0.1:9/call")
    assert (moved.port, moved.host) == (9, "127.0.0.1")
    assert Hub("ws://[::1]:8001/ws", "http://[::1]:8001/call", "r", "o").at_port(9).wamp_server == "ws://[::1]:9/ws"


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("localhost", True), ("192.0.2.1", False)])
def test_what_is_this_machine(host, local):
    assert is_local(host) is local


def test_a_name_that_nobody_knows_is_not_this_machine():
    assert is_local("no-such-host.invalid") is False


def site(**host):
    return SiteConfig.from_dict(
        {
            "hub": {
                "wamp_server": HUB.wamp_server,
                "wamp_http": HUB.wamp_http,
                "wamp_realm": HUB.wamp_realm,
                "address_root": HUB.address_root,
            },
            "hosts": {"h": {"agent-instances": [], **host}},
        }
    )


def test_the_hub_is_the_site_s_unless_the_host_has_its_own():
    plain, own = site(), site(wamp_server="ws://127.0.0.1:7/ws")
    assert hub_of(plain, plain.hosts["h"]) == HUB
    assert hub_of(own, own.hosts["h"]).port == 7


def test_a_closed_hub_is_reached_by_tls_at_the_same_port_and_is_listened_for_there():
    closed = HUB.closed_with("/etc/ocs/keys")
    assert (closed.wamp_server, closed.wamp_http) == ("wss://127.0.0.1:8001/ws", "https://127.0.0.1:8001/call")
    assert closed.at_port(9).wamp_server == "wss://127.0.0.1:9/ws"
    assert closed.closed_with("/other").wamp_server == closed.wamp_server
    assert closed.listens_at == HUB.listens_at == ("127.0.0.1", 8001)


def test_a_url_without_a_port_keeps_the_one_it_means():
    hub = Hub("ws://a/ws", "http://a/call", "r", "o").closed_with("/keys")
    assert (hub.wamp_server, hub.wamp_http, hub.port) == ("wss://a:80/ws", "https://a:80/call", 80)


@pytest.mark.parametrize(
    ("keys", "secure", "choice", "words"),
    [
        ("", False, Choice.START, "who reaches ws://127.0.0.1:8001/ws may do everything"),
        ("", False, Choice.USE, None),
        ("", True, Choice.START, None),
        ("/keys", False, Choice.START, "put wss://127.0.0.1:8001/ws and https://127.0.0.1:8001/call into the site"),
        ("/keys", True, Choice.USE, None),
    ],
)
def test_the_user_is_told_who_may_connect_where_it_may_surprise(keys, secure, choice, words):
    found = replace(HUB, keys=keys)
    notes = access_notes(found, closed_hub(found, Path("/run/keys"), secure=secure), choice)
    assert (words is None and not notes) or words in notes[0]


def test_keys_are_where_the_site_file_says_else_in_the_run_s_folder():
    assert closed_hub(HUB, Path("/run/keys"), secure=False) == HUB
    assert closed_hub(HUB, Path("/run/keys"), secure=True).keys == "/run/keys"
    assert closed_hub(replace(HUB, keys="/site/keys"), Path("/run/keys"), secure=True).keys == "/site/keys"
