"""Messages field by field: what agents of both sides send has the same keys and types; ours may have more keys."""

from pathlib import Path

import pytest
from autobahn.wamp.types import SubscribeOptions
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.harness.peers import SIDES
from tests.harness.wamp import wamp_session

pytestmark = pytest.mark.interop

CLASSIC = Path(__file__).parent / "agents" / "classic.py"

# A session that has just been started may or may not have these yet.
MOMENTS = ("messages", "data", "end_time", "success")


class Tape:
    """Events of a router, waited for by their topic."""

    def __init__(self, session):
        self.session = session
        self.heard = {}
        self.awaited = {}

    async def listen(self):
        options = SubscribeOptions(match="wildcard", details_arg="details")
        await self.session.subscribe(self._take, "observatory..feeds.", options)

    def _take(self, *args, details):
        self.heard.setdefault(details.topic, []).append(args)
        waiting = self.awaited.get(details.topic, (None, None))
        if waiting[0] and waiting[1](args):
            del self.awaited[details.topic]
            waiting[0].callback(args)

    async def next(self, topic, wanted=lambda args: True):
        """Wait for an event of a topic, and return its arguments."""
        waiting = Deferred()
        self.awaited[topic] = (waiting, wanted)
        return await waiting.addTimeout(20, reactor)


def shape(value):
    """Tell what is in a message: the keys and types of maps, the types in lists."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


def without(value, *keys):
    return {key: each for key, each in value.items() if key not in keys}


def covers(ours, theirs, path="message"):
    """Check that a shape has all of another's keys, each with the same type."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), path
        for key, each in theirs.items():
            assert key in ours, f"{path}: {key!r} is missing"
            covers(ours[key], each, f"{path}[{key!r}]")
    elif isinstance(theirs, list):
        assert isinstance(ours, list), path
        assert len(ours) == len(theirs), path
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            covers(mine, other, f"{path}[{index}]")
    else:
        assert ours == theirs, path


@pytest.fixture(scope="module")
def agents(start):
    """The classic agent and the fake data agent under both interpreters; each one's address ends with its side."""
    handles = [start(side, f"classic-{side}", "ClassicAgent", program=[str(CLASSIC)]) for side in SIDES]
    handles += [start(side, f"fake-{side}", "FakeDataAgent", ["--mode", "acq"]) for side in SIDES]
    for handle in handles:
        handle.wait_until_ready()


async def ask(session, side, *args, **kwargs):
    return await session.call(f"observatory.classic-{side}.ops", *args, **kwargs)


@ensureDeferred
async def test_the_self_description_of_the_same_script(router, agents):
    async with wamp_session(router) as session:
        api = {side: await session.call(f"observatory.classic-{side}", "get_api") for side in SIDES}
        parts = {
            side: {
                q: await session.call(f"observatory.classic-{side}", q)
                for q in ("get_tasks", "get_processes", "get_feeds")
            }
            for side in SIDES
        }
        classes = [await session.call(f"observatory.classic-{side}", "get_agent_class") for side in SIDES]

    for side in SIDES:
        feeds = sorted(api[side]["feeds"])  # their order is nobody's promise
        api[side] = {**api[side], "feeds": feeds}
        parts[side]["get_feeds"].sort()
    assert set(api["ours"]) == set(api["published"])
    for kind in ("tasks", "processes"):
        names = [[entry[0] for entry in api[side][kind]] for side in SIDES]
        assert names[0] == names[1] == sorted(names[0])
    covers(shape(without(api["ours"], "processes")), shape(without(api["published"], "processes")))
    for mine, other in zip(api["ours"]["processes"], api["published"]["processes"], strict=True):
        covers(shape(without(mine[1], "messages", "data")), shape(without(other[1], "messages", "data")))
        covers(shape(mine[2]), shape(other[2]))
    covers(shape(without(parts["ours"], "get_processes")), shape(without(parts["published"], "get_processes")))
    assert classes == ["ClassicAgent", "ClassicAgent"]


@ensureDeferred
async def test_what_is_said_of_an_operation_is_the_same_word_for_word(router, agents):
    async with wamp_session(router) as session:
        api = {side: await session.call(f"observatory.classic-{side}", "get_api") for side in SIDES}

    for kind in ("tasks", "processes"):
        for mine, other in zip(api["ours"][kind], api["published"][kind], strict=True):
            assert {key: mine[2][key] for key in other[2]} == other[2]
            assert set(mine[2]) - set(other[2]) <= {"params"}


@ensureDeferred
async def test_heartbeats_and_samples(router, agents):
    async with wamp_session(router) as session:
        tape = Tape(session)
        await tape.listen()
        beats = {side: await tape.next(f"observatory.fake-{side}.feeds.heartbeat") for side in SIDES}
        samples = {side: await tape.next(f"observatory.fake-{side}.feeds.false_temperatures") for side in SIDES}

    assert [len(beats[side]) for side in SIDES] == [1, 1]
    covers(shape(beats["ours"][0]), shape(beats["published"][0]))
    assert list(beats["ours"][0][0].values()) == list(beats["published"][0][0].values())
    assert set(beats["ours"][0][1]) >= set(beats["published"][0][1])

    blocks = {side: samples[side][0][0] for side in SIDES}
    assert list(blocks["ours"]) == list(blocks["published"]) == ["temps"]
    mine, other = blocks["ours"]["temps"], blocks["published"]["temps"]
    assert without(mine, "timestamps", "data") == without(other, "timestamps", "data")
    assert list(mine["data"]) == list(other["data"])
    for block in (mine, other):
        columns = [block["timestamps"], *block["data"].values()]
        assert {len(column) for column in columns} == {len(block["timestamps"])}
        assert {type(value) for column in columns for value in column} == {float}
    covers(shape(samples["ours"][0][1]), shape(samples["published"][0][1]))
    assert samples["ours"][0][1]["agg_params"] == samples["published"][0][1]["agg_params"]


@ensureDeferred
async def test_a_feed_that_is_not_recorded_carries_the_message_as_it_is(router, agents):
    async with wamp_session(router) as session:
        tape = Tape(session)
        await tape.listen()
        notes = {}
        for side in SIDES:
            noted = tape.next(f"observatory.classic-{side}.feeds.notes")
            await ask(session, side, "start", "double", {"value": 4})
            notes[side] = await noted

    assert notes["ours"][0][0] == notes["published"][0][0] == {"doubled": 8}
    covers(shape(notes["ours"][0][1]), shape(notes["published"][0][1]))


@ensureDeferred
async def test_samples_of_every_type_and_their_tags(router, agents):
    blocks = {}
    async with wamp_session(router) as session:
        tape = Tape(session)
        await tape.listen()
        for side in SIDES:
            sampled = tape.next(f"observatory.classic-{side}.feeds.therm")
            await ask(session, side, "start", "sample")
            blocks[side] = (await sampled)[0][0]["temps"]
            await ask(session, side, "stop", "sample")
            await ask(session, side, "wait", "sample", timeout=10)

    assert without(blocks["ours"], "timestamps", "data") == without(blocks["published"], "timestamps", "data")
    firsts = [{field: values[0] for field, values in blocks[side]["data"].items()} for side in SIDES]
    assert firsts[0] == firsts[1]
    assert shape(firsts[0]) == shape(firsts[1])


@ensureDeferred
async def test_heartbeats_tell_how_operations_stand(router, agents):
    codes = {}
    async with wamp_session(router) as session:
        tape = Tape(session)
        await tape.listen()
        for side in SIDES:
            for op, params in (("double", None), ("fail", None), ("crash", None), ("sample", {"degraded": True})):
                await ask(session, side, "start", op, params)
            beat = await tape.next(
                f"observatory.classic-{side}.feeds.heartbeat", lambda args: args[0][0]["sample"] == 8
            )
            codes[side] = beat[0][0]
            await ask(session, side, "stop", "sample")
            await ask(session, side, "wait", "sample", timeout=10)

    assert codes["ours"] == codes["published"]
    assert (codes["ours"]["double"], codes["ours"]["fail"], codes["ours"]["crash"]) == (5, 6, 6)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("status", "tick"), {}),
        (("status", "double"), {}),
        (("start", "double", {"value": 3}), {}),
        (("start", "double", {"value": 3}, None, None), {}),
        (("start",), {"op_name": "double", "params": {"value": 3}}),
        ((), {"action": "start", "op_name": "double", "params": None}),
        ((), {"action": "wait", "op_name": "tick", "timeout": -1}),
        (("wait", "tick", None, 0.05), {}),
        (("wait", "tick"), {"timeout": 0}),
        (("stop", "sample", None, None, "a password"), {}),
        (("abort", "slow"), {}),
        (("status", "nothing"), {}),
        (("dance", "double"), {}),
        (("abort", "tick"), {}),
    ],
    ids=str,
)
@ensureDeferred
async def test_every_way_to_call_an_operation(router, agents, args, kwargs):
    async with wamp_session(router) as session:
        replies = {side: await ask(session, side, *args, **kwargs) for side in SIDES}

    assert [type(replies[side]) for side in SIDES] == [list, list]
    assert replies["ours"][0] == replies["published"][0]
    assert set(replies["ours"][2]) >= set(replies["published"][2])  # ours may still show the last session
    covers(shape(without(replies["ours"][2], *MOMENTS)), shape(without(replies["published"][2], *MOMENTS)))


@pytest.mark.parametrize("side", SIDES)
def test_the_same_script_through_the_agent_cli(site, run_agent, pythons, side):
    site.add_instance("ClassicAgent", f"by-cli-{side}", ["--rate", 5])
    program = [str(Path(pythons[side]).with_name("ocs-agent-cli")), "--agent", str(CLASSIC), "--entrypoint", "main"]
    handle = run_agent(f"by-cli-{side}", python=pythons[side], program=program)
    api = handle.call("", "get_api")
    handle.kill()  # the published one takes several seconds to obey

    assert api["agent_class"] == "ClassicAgent"
    assert [name for name, _, _ in api["processes"]] == ["sample", "tick"]
