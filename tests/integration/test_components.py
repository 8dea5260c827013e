"""Components on a real router: one of a name, found while they last, and by all."""

import os
import socket

import pytest
import pytest_twisted
from twisted.internet.defer import DeferredList

from ocs.components.component import Component
from ocs.components.locator import Locator
from ocs.components.names import ComponentId, Prefix, uri_of
from ocs.core.membership import callees
from ocs.errors import ComponentTakenError
from ocs.wamp.lean_autobahn import ApplicationError
from tests.harness.components import agent_of, failure_of, joined, until
from tests.harness.fakes import Log
from tests.harness.wamp import wamp_session

ensure = pytest_twisted.ensureDeferred


def named(name, component_type="Service"):
    return ComponentId(Prefix("TEST", name), component_type)


def locator_of(agent):
    locator = Locator(agent)
    locator.start()
    return locator


@ensure
async def test_a_component_is_found_with_its_metadata(router):
    one, other = agent_of(router, "one"), agent_of(router, "other")
    Component(one, named("found"), {"colour": "red"})
    locator = locator_of(other)
    async with joined(router, one, other):
        found = await locator.resolve(named("found"), 10)
        assert found.metadata["pid"] == os.getpid()
        assert found.metadata["host"] == socket.gethostname()
        assert found.metadata["colour"] == "red"
        assert found.uri == uri_of("observatory", named("found"))
        assert found in locator.of_type("Service")


@ensure
async def test_one_that_was_there_before_is_found_when_the_locator_is_complete(router):
    one, other = agent_of(router, "one"), agent_of(router, "other")
    Component(one, named("earlier"), {})
    locator = locator_of(other)
    async with joined(router, one):
        async with wamp_session(router) as session:
            await until_registered(session, named("earlier"))
        async with joined(router, other):
            assert await locator.ready(10)
            assert locator.find(named("earlier"))
            assert locator.find(ComponentId(Prefix("OCS", "one"), "Agent"))


async def until_registered(session, component):
    uri = uri_of("observatory", component)
    while await session.call("wamp.registration.match", uri) is None:
        pass


@ensure
async def test_one_that_goes_is_found_no_more(router):
    one, other = agent_of(router, "one"), agent_of(router, "other")
    Component(one, named("going"), {})
    locator = locator_of(other)
    changes = []
    locator.on_change(lambda: changes.append(locator.find(named("going")) is not None))
    async with joined(router, other):
        async with joined(router, one):
            assert await locator.resolve(named("going"), 10)
        await until(lambda: locator.find(named("going")) is None)
    assert True in changes
    assert changes[-1] is False


@ensure
async def test_a_component_may_be_several_and_cease_to_be_some(router):
    one, other = agent_of(router, "one"), agent_of(router, "other")
    component = Component(one, named("first"), {})
    locator = locator_of(other)
    async with joined(router, one, other):
        await locator.resolve(named("first"), 10)
        await component.add(named("second", "Sequencer"), {"sequenceComponent": "TEST.first"})
        found = await locator.resolve(named("second", "Sequencer"), 10)
        assert found.metadata["sequenceComponent"] == "TEST.first"
        await component.remove(named("second", "Sequencer"))
        await until(lambda: locator.find(named("second", "Sequencer")) is None)
        assert locator.find(named("first"))


@ensure
async def test_of_many_that_want_a_name_one_gets_it_and_the_others_are_told_where_it_is(router):
    agents = [agent_of(router, f"rival-{number}") for number in range(6)]
    refusals = []
    for agent in agents:
        Component(agent, named("wanted"), {}, on_taken=refusals.append)
    async with joined(router, *agents):
        await until(lambda: len(refusals) == 5)
    assert all(line.startswith("Service TEST.wanted is registered already: on ") for line in refusals)
    assert all(f"process {os.getpid()}" in line for line in refusals)


@ensure
async def test_unless_told_otherwise_an_agent_whose_name_is_taken_ends(router):
    one, other = agent_of(router, "one"), agent_of(router, "other")
    ended = []
    one.on_give_up = other.on_give_up = ended.append
    Component(one, named("taken"), {})
    Component(other, named("taken"), {})
    async with joined(router, one, other):
        await until(lambda: ended)
    assert "registered already" in ended[0]


@ensure
async def test_a_further_component_whose_name_is_taken_fails(router):
    one, other = agent_of(router, "one"), agent_of(router, "other")
    Component(one, named("taken"), {})
    second = Component(other, named("second"), {})
    locator = locator_of(other)
    async with joined(router, one, other):
        await locator.resolve(named("taken"), 10)
        await locator.resolve(named("second"), 10)
        assert isinstance(await failure_of(second.add(named("taken"), {})), ComponentTakenError)
        assert locator.find(named("second"))


@ensure
async def test_a_component_takes_its_name_over_from_its_own_half_open_connection(router, tcp_proxy):
    one, other = agent_of(router, "one"), agent_of(router, "other")
    refusals = []
    Component(one, named("halfopen"), {}, on_taken=refusals.append)
    locator = locator_of(other)
    async with joined(router, one, url=tcp_proxy.ws_url), joined(router, other), wamp_session(router) as session:
        await locator.resolve(named("halfopen"), 10)
        before = one._session_id
        tcp_proxy.abandon()
        await until(lambda: one.realm_joined and one._session_id != before)
        while await holders_of(session, named("halfopen")) != {one._session_id}:
            pass
    assert not refusals


async def holders_of(session, component):
    try:
        return await callees(session, uri_of("observatory", component))
    except ApplicationError:  # gone between the two questions
        return set()


@ensure
async def test_one_that_comes_back_to_find_its_name_taken_gives_way(router, tcp_proxy):
    old, new, other = (agent_of(router, name) for name in ("old", "new", "other"))
    refusals = []
    Component(old, named("replaced"), {}, on_taken=refusals.append)
    Component(new, named("replaced"), {})
    locator = locator_of(other)
    async with joined(router, old, url=tcp_proxy.ws_url), joined(router, other):
        await locator.resolve(named("replaced"), 10)
        tcp_proxy.stall()
        tcp_proxy.cut()
        await until(lambda: locator.find(named("replaced")) is None)
        async with joined(router, new):
            await locator.resolve(named("replaced"), 10)
            tcp_proxy.resume()
            await until(lambda: refusals)
    assert "registered already" in refusals[0]


@ensure
async def test_after_a_restart_of_the_router_all_are_found_again(own_router):
    one, other = agent_of(own_router, "one"), agent_of(own_router, "other")
    Component(one, named("lasting"), {})
    locator = locator_of(other)
    async with joined(own_router, one, other):
        assert await locator.resolve(named("lasting"), 10)
        assert await locator.ready(10)
        own_router.kill()
        await until(lambda: not locator.complete)
        assert locator.find(named("lasting")) is None
        own_router.start()
        assert await locator.resolve(named("lasting"), 30)
        assert await locator.ready(10)


@ensure
async def test_one_whose_name_is_held_by_a_dead_connection_waits_until_the_router_drops_that(router, tcp_proxy):
    before, after, other = (agent_of(router, name) for name in ("before", "after", "other"))
    Component(before, named("rebooted"), {}, on_taken=lambda _: None)
    refusals = []
    Component(after, named("rebooted"), {"life": 2}, on_taken=refusals.append)
    locator = locator_of(other)
    log = after.log = Log()
    async with joined(router, other):
        async with joined(router, before, url=tcp_proxy.ws_url):
            await locator.resolve(named("rebooted"), 10)
            tcp_proxy.forget()
        async with joined(router, after):
            await until(lambda: any("does not answer" in line for line in log.of("warn")))
            tcp_proxy.cut()
            await until(lambda: (found := locator.find(named("rebooted"))) and found.metadata.get("life") == 2)
    assert refusals == []


@ensure
async def test_one_that_does_not_describe_itself_is_known_without_metadata(router):
    agent = agent_of(router, "looking")
    locator = locator_of(agent)
    async with wamp_session(router) as session:
        silent = uri_of("observatory", named("silent"))
        broken = uri_of("observatory", named("broken"))
        await session.register(lambda: 1 / 0, broken)
        await session.register(never, silent)
        async with joined(router, agent):
            assert await locator.ready(10)
            assert locator.find(named("silent")).metadata == {}
            assert locator.find(named("broken")).metadata == {}


@ensure
async def test_what_is_registered_before_one_asks_is_known_when_the_locator_is_ready(router):
    one, other = agent_of(router, "one"), agent_of(router, "other")
    component, locator = Component(one, named("first"), {}), locator_of(other)
    async with joined(router, one, other):
        await locator.resolve(named("first"), 10)
        for number in range(20):
            await component.add(named(f"later-{number}"), {})
            await other.call("wamp.session.count")  # behind the news of it
            assert await locator.ready(10)
            assert locator.find(named(f"later-{number}"))


def never():
    from twisted.internet.defer import Deferred

    return Deferred()


@ensure
async def test_hundreds_of_components_are_known_soon_and_forgotten_together(router):
    agent = agent_of(router, "looking")
    locator = locator_of(agent)
    many = [named(f"many-{number}") for number in range(300)]
    async with joined(router, agent):
        async with wamp_session(router) as session:
            await DeferredList(
                [session.register(lambda: {"metadata": {}}, uri_of("observatory", each)) for each in many]
            )
            await until(lambda: all(map(locator.find, many)))
        await until(lambda: not any(map(locator.find, many)))


@ensure
async def test_waiting_for_one_that_does_not_come_ends_in_time(router):
    agent = agent_of(router, "looking")
    locator = locator_of(agent)
    async with joined(router, agent):
        assert await locator.resolve(named("nobody"), 0.1) is None


@pytest.mark.parametrize("kind", ["Service", "Machine"])
def test_without_a_router_nothing_is_known(router, kind):
    locator = locator_of(agent_of(router, "alone"))
    assert not locator.complete
    assert locator.find(named("any", kind)) is None
    assert locator.of_type(kind) == []
