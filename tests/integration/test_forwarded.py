"""Messages that claim to be forwarded for somebody else, at an open site: its router believes that of anybody."""

from autobahn.wamp.types import CallOptions, PublishOptions, RegisterOptions, SubscribeOptions
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ocs.core.callers import Caller, caller_of
from tests.harness.components import agent_of, joined
from tests.harness.wamp import wamp_session

FORGED = [{"session": 1, "authid": "director", "authrole": "director"}]


@ensureDeferred
async def test_who_calls_an_agent_is_the_session_that_called(router):
    agent, seen = agent_of(router, "forwarded"), []
    async with joined(router, agent), wamp_session(router) as forger:
        await agent.register(
            lambda details: seen.append(caller_of(details)),
            "observatory.forwarded.x",
            RegisterOptions(details_arg="details"),
        )
        await forger.call("observatory.forwarded.x", options=CallOptions(forward_for=FORGED))
        await forger.call("observatory.forwarded.x")
        assert seen == [Caller(forger._session_id)] * 2


@ensureDeferred
async def test_an_event_says_that_it_was_forwarded(router):
    """By which an agent refuses rules that claim to come from its director."""
    agent, heard = agent_of(router, "forwarded"), Deferred()
    async with joined(router, agent), wamp_session(router) as forger:
        await agent.subscribe(
            lambda **details: heard.callback(details["event"]),
            "observatory.forwarded.y",
            SubscribeOptions(details_arg="event"),
        )
        forger.publish("observatory.forwarded.y", options=PublishOptions(forward_for=FORGED))
        details = await heard.addTimeout(5, reactor)
        assert details.publisher == 1
        assert details.forward_for
