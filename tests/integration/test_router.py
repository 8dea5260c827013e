"""The router itself, and the fixtures that start it."""

from ocs.router import health


def test_serves_websocket_and_realm(router):
    assert health.check(router.ws_url, router.realm).ok


def test_published_agent(site, run_agent, published_python):
    site.add_instance("FakeDataAgent", "fake-published")
    agent = run_agent("fake-published", python=published_python)
    assert agent.call("", "get_agent_class") == "FakeDataAgent"
    assert agent.stop() == 0
