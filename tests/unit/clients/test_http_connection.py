"""Where a connection goes: URLs, logins, proxies."""

import pytest

from ocs.clients.http_connection import find_route

LOOPBACK = "http://127.0.0.1:8001/call"
PROXIES = {"http_proxy": "http://proxy.site:3128", "https_proxy": "http://user:pw@proxy.site:3128"}


def test_a_plain_url_is_reached_directly():
    route = find_route("http://router.site:8001/call?key=1", {})
    assert (route.host, route.port, route.tls_name, route.tunnel) == ("router.site", 8001, None, None)
    assert route.head.startswith(b"POST /call?key=1 HTTP/1.1\r\nHost: router.site:8001\r\n")


@pytest.mark.parametrize(("url", "port"), [("http://a/call", 80), ("https://a/call", 443), ("http://[::1]:7/call", 7)])
def test_ports(url, port):
    assert find_route(url, {}).port == port


def test_a_login_in_the_url_is_sent_as_basic_authentication():
    head = find_route("http://me:s%20x@router.site/call", {}).head
    assert b"Authorization: Basic bWU6cyB4\r\n" in head
    assert b"Host: router.site\r\n" in head


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3", "[::1]"])
def test_the_loopback_interface_needs_no_proxy(host):
    route = find_route(f"http://{host}:8001/call", PROXIES)
    assert route.port == 8001
    assert route.head.startswith(b"POST /call ")


def test_a_proxy_is_asked_for_the_whole_url():
    route = find_route("http://router.site:8001/call", PROXIES)
    assert (route.host, route.port) == ("proxy.site", 3128)
    assert route.head.startswith(b"POST http://router.site:8001/call HTTP/1.1\r\n")


def test_a_proxy_is_tunnelled_through_where_tls_is_used():
    route = find_route("https://router.site/call", PROXIES)
    assert (route.host, route.port, route.tls_name) == ("proxy.site", 3128, "router.site")
    assert route.tunnel is not None
    assert route.tunnel.startswith(b"CONNECT router.site:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwdw==\r\n" in route.tunnel
    assert route.head.startswith(b"POST /call HTTP/1.1\r\n")
    assert b"Proxy-Authorization" not in route.head


def test_hosts_of_no_proxy_are_reached_directly():
    environ = {**PROXIES, "no_proxy": "other.site,.site"}
    assert find_route("http://router.site:8001/call", environ).host == "router.site"
