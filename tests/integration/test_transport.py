"""Our transport and a real router."""

import pytest_twisted
from autobahn.wamp.message import Interrupt
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.harness.components import agent_of, failure_of, joined


@pytest_twisted.ensureDeferred
async def test_a_cancelled_call_costs_nothing_when_its_callee_goes_away_without_an_answer(router):
    caller, callee, asked = agent_of(router, "caller"), agent_of(router, "callee"), Deferred()

    def never_answer():
        asked.callback(None)
        return Deferred()

    take = callee.onMessage
    callee.onMessage = lambda message: isinstance(message, Interrupt) or take(message)
    async with joined(router, caller):
        session = caller._session_id
        async with joined(router, callee):
            await callee.register(never_answer, "observatory.never")
            calling = caller.call("observatory.never")
            await asked
            calling.cancel()
            await failure_of(calling)
            await caller.call("wamp.registration.match", "observatory.never")  # the router has it that we cancelled
        await deferLater(reactor, 0.3)  # its second refusal, of which nothing is to be seen
        assert caller._session_id == session
        assert await caller.call("wamp.registration.match", "observatory.never") is None
