"""The access director at a closed site: who gets its rules, and who holds a grant."""

import pytest
from autobahn.wamp.types import PublishOptions, SubscribeOptions
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ocs.agents.access_director.herald import Herald
from tests.harness.closed_site import ClosedSite

TOPIC = "observatory.director.feeds.controls"
END = "observatory.director.feeds.end"


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    with ClosedSite(tmp_path_factory.mktemp("closed")) as site:
        yield site


class Ear:
    """Hears topics of the director, until what ends a test."""

    def __init__(self, session):
        self.session, self.heard, self.ended = session, [], Deferred()

    async def listen(self, topic, match):
        options = SubscribeOptions(match=match, details_arg="details")
        await self.session.subscribe(self._take, topic, options)
        return self

    def _take(self, *_arguments, details):
        if details.topic == END:
            self.ended.callback(None)
        else:
            self.heard.append(details.topic)


class Speaker:
    """As much of an agent as the herald needs, over a session of the test's own."""

    realm_joined = True

    def __init__(self, session):
        self.publish, self._session = session.publish, session

    def register_feed(self, name):
        return type("Feed", (), {"address": TOPIC, "encoded": lambda _: {"session_id": "1"}})()

    def on(self, _event, joined):
        joined(self._session, self._session._session_details)


@ensureDeferred
async def test_rules_are_handed_to_agents_however_others_listen(closed):
    async with (
        closed.session("director") as director,
        closed.session("fake-1") as agent,
        closed.session("client") as client,
        closed.session("observer") as observer,
    ):
        ears = [
            await Ear(session).listen(topic, match)
            for session in (agent, client, observer)
            for topic, match in (("observatory.director.feeds.", "prefix"), ("observatory..feeds.", "wildcard"))
        ]
        herald = Herald(Speaker(director))
        herald.say({"reset": True})
        herald.say({"target": "fake-1"}, agent._session_id)
        herald.say({"target": "x"}, observer._session_id)  # who has no right to them gets none by asking either
        await director.publish(END, options=PublishOptions(acknowledge=True))
        for ear in ears:
            await ear.ended.addTimeout(10, reactor)
    assert [len(ear.heard) for ear in ears] == [2, 2, 0, 0, 0, 0]
