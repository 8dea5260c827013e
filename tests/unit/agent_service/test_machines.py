"""Calls of SpawnAgents: each has an answer in time, whatever becomes of the SpawnAgent."""

import asyncio
from dataclasses import replace

import pytest

from ocs.agent_service.machines import CONTAINERS, KILL, SPAWN, Machines
from ocs.errors import CallLostError
from tests.harness.fake_location import FakeLocation

ADDRESS = "observatory.machine1.spawn"
WHAT = "SequenceComponent ESW.primary"


def ask(story, procedure=SPAWN, answer=None):
    """Ask a SpawnAgent, while a story goes on; return the answer."""

    async def play():
        location = FakeLocation()
        machine = location.add_machine()
        location.answers[ADDRESS] = asyncio.get_running_loop().create_future() if answer is None else answer
        asking = asyncio.ensure_future(Machines(location).ask(machine, procedure, {"a": 1}, WHAT))
        await asyncio.sleep(0)
        story(location)
        return await asyncio.wait_for(asking, 5)

    return asyncio.run(play())


def nothing(_):
    """Let it take its course."""


@pytest.mark.parametrize("given", [{"_type": "Spawned"}, {"_type": "Failed", "msg": "no"}])
def test_an_answer_is_passed_on(given):
    assert ask(nothing, answer=given) == given


@pytest.mark.parametrize(
    "given", [None, 7, {}, {"_type": "Spawned?"}, {"_type": "Failed"}, {"_type": "Failed", "msg": 7}, ["Spawned"]]
)
def test_what_is_no_answer_is_a_failure(given):
    async def play():
        location = FakeLocation()
        location.answers[ADDRESS] = given
        return await Machines(location).ask(location.add_machine(), SPAWN, {}, WHAT)

    answer = asyncio.run(play())
    assert answer == {
        "_type": "Failed",
        "msg": "SpawnAgent ESW.machine1 on h1 has answered something that makes no sense",
    }


def test_an_answer_to_another_question_is_a_failure():
    answer = ask(nothing, answer={"_type": "Killed"})
    assert answer["msg"] == "SpawnAgent ESW.machine1 on h1 has answered Killed to a request for spawn"


def test_one_that_is_gone_in_mid_call_fails_it_at_once():
    answer = ask(lambda location: location.drop("ESW.machine1", "Machine"))
    assert answer["_type"] == "Failed"
    assert answer["msg"] == (
        "SpawnAgent ESW.machine1 on h1: it has gone away;"
        f" whether {WHAT} has been spawned is not known: GetAgentStatus tells, once it is back"
    )


def test_one_that_has_been_started_again_in_mid_call_is_another():
    def story(location):
        location.drop("ESW.machine1", "Machine")
        location.add("ESW.machine1", "Machine", host="h1", pid=11, address="observatory.machine1")

    assert "it has gone away" in ask(story)["msg"]


def test_the_last_word_of_one_that_goes_is_heard():
    def story(location):
        location.drop("ESW.machine1", "Machine")
        location.answers[ADDRESS].set_result({"_type": "Failed", "msg": "the spawn agent ends"})

    assert ask(story) == {"_type": "Failed", "msg": "the spawn agent ends"}


def test_a_lost_router_is_said_to_be_that():
    answer = ask(lambda location: location.lose_router())
    assert "the connection to the router was lost; whether" in answer["msg"]


def test_one_that_takes_too_long_fails_in_time():
    answer = ask(nothing, replace(SPAWN, within=0.05))
    assert answer["msg"].startswith("SpawnAgent ESW.machine1 on h1 has not answered within 0.05 s; whether")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CallLostError("it does not take requests", may_be_done=False), ": it does not take requests"),
        (CallLostError("it broke", may_be_done=True), ": it broke; whether SequenceComponent ESW.primary has been"),
    ],
)
def test_a_call_that_brings_no_answer(error, said):
    assert said in ask(nothing, answer=error)["msg"]


def test_one_that_has_just_come_back_is_asked_again_until_it_takes_requests():
    async def play():
        location = FakeLocation()
        asking = asyncio.ensure_future(Machines(location).ask(location.add_machine(), SPAWN, {}, WHAT))
        await location.called(2)
        location.answers[ADDRESS] = {"_type": "Spawned"}
        return await asyncio.wait_for(asking, 5)

    assert asyncio.run(play()) == {"_type": "Spawned"}


def test_one_that_may_have_heard_of_it_is_not_asked_again():
    async def play():
        location = FakeLocation()
        location.answers[ADDRESS] = CallLostError("it broke", may_be_done=True)
        await Machines(location).ask(location.add_machine(), SPAWN, {}, WHAT)
        return len(location.calls)

    assert asyncio.run(play()) == 1


def test_one_that_has_not_described_itself_cannot_be_called():
    async def play():
        location = FakeLocation()
        return await Machines(location).ask(location.add("ESW.m", "Machine"), SPAWN, {}, WHAT), location.calls

    answer, calls = asyncio.run(play())
    assert answer["msg"] == "SpawnAgent ESW.m does not say where it takes requests: it does not answer"
    assert calls == []


def test_the_deadlines_keep_the_contract():
    assert SPAWN.within < 20
    assert KILL.within <= 25
    assert CONTAINERS.within == 60
