"""Agents in the tests' own reactor, joined to a real router: to be components, and to look for them."""

from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ocs.ocs_agent import OCSAgent
from ocs.wamp.lean_autobahn import ComponentConfig
from ocs.wamp.link import RouterLink
from tests.harness.fakes import site_args


def agent_of(router: Any, instance_id: str) -> OCSAgent:
    """An agent that has not joined yet."""
    args = site_args(state_dir=None, address_root="observatory", instance_id=instance_id)
    return OCSAgent(ComponentConfig(router.realm, {}), args, class_name="TestAgent", reactor=reactor)


def link_of(agent: OCSAgent, router: Any, url: str | None = None) -> RouterLink:
    """What joins an agent to a router, by another address if one is given."""
    link = RouterLink(agent, url or router.ws_url, router.realm, reactor=reactor, longest_delay=0.2)
    link.start()
    return link


@asynccontextmanager
async def joined(router: Any, *agents: OCSAgent, url: str | None = None):
    """Have agents joined for the time of the context."""
    links = [link_of(agent, router, url) for agent in agents]
    try:
        for agent in agents:
            await until(lambda agent=agent: agent.realm_joined)
        yield
    finally:
        for link, agent in zip(links, agents, strict=True):
            await agent.shut_down()
            await link.stop()


async def until(condition: Any, within: float = 15.0) -> Any:
    """Let the reactor turn until a condition holds, and return it."""
    end = reactor.seconds() + within
    while not (answer := condition()):
        assert reactor.seconds() < end, f"not within {within} s; last answer: {answer!r}"
        await deferLater(reactor, 0.01)
    return answer


async def failure_of(deferred: "Deferred[Any]") -> BaseException:
    """Return what a Deferred fails with."""
    try:
        answer = await deferred
    except Exception as error:
        return error
    raise AssertionError(f"did not fail, but gave {answer!r}")
