"""Files that list components: a mistake anywhere is one line with its place; spawned are a few at a time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from ocs.agents.spawn_agent.answers import SPAWNED
from ocs.agents.spawn_agent.containers import MOST_CONTAINERS, parse, read, spawn_all
from ocs.errors import SpawnError

GOOD = """
containers:
  - {kind: SequenceComponent, componentName: primary}
  - kind: SequenceManager
    obsModeConfigPath: modes.yaml
    isConfigLocal: true
  - {kind: Agent, instanceId: fake-1, version: 1.0.0}
"""


def listed(number):
    return "containers:\n" + "".join(
        f"- {{kind: SequenceComponent, componentName: c{each}}}\n" for each in range(number)
    )


def test_all_kinds_are_listed():
    found = [str(one.component) for one in parse(GOOD, "x.yaml", "ESW")]
    assert found == ["SequenceComponent ESW.primary", "Service ESW.sequence_manager", "Agent OCS.fake-1"]


def test_the_same_in_json_is_the_same():
    entries = [{"kind": "SequenceComponent", "componentName": "primary"}]
    text = json.dumps({"containers": entries}, indent="\t")
    assert parse(text, "x.json", "ESW") == parse(text.replace("\t", " "), "x.yaml", "ESW")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "x.yaml:1: needs the key containers"),
        ("[]", "x.yaml:1: needs the key containers"),
        ("containers: []", "x.yaml:1: containers: must be a list of at least one component"),
        ("containers: {a: b}", "x.yaml:1: containers: must be a list"),
        ("containers: [5]", "x.yaml:1: containers.0: must be an object"),
        (GOOD + "more: 5\n", "x.yaml:8: more: is not a key of this file"),
        (GOOD + "  - {kind: Agent}\n", "x.yaml:8: containers.3: instanceId: is missing"),
        (GOOD + "  - {kind: Filter}\n", "x.yaml:8: containers.3: kind: must be one of"),
        (GOOD + "  - {kind: Agent, instanceId: a, x: 5}\n", "x.yaml:8: containers.3.x: is not a key of a Agent"),
        (GOOD + "  - {kind: Agent, instanceId: fake-1}\n", "x.yaml:8: containers.3: OCS.fake-1 is listed twice"),
        (GOOD + "  - kind: Agent\n   x: 5\n", "x.yaml:9:"),
        (GOOD + GOOD, "x.yaml:9:1: 'containers' is given a second time"),
        (listed(MOST_CONTAINERS + 1), "x.yaml:52: containers.50: lists 51 components; 50 is the most"),
        ("containers: !!python/object:os.system {}", "x.yaml:1:"),
        ("[" * 5000, "x.yaml"),
        ("\0", "x.yaml:1:1:"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text, line):
    with pytest.raises(SpawnError) as caught:
        parse(text, "x.yaml", "ESW")
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_list_or_one_line(text):
    for name in ("x.yaml", "x.json"):
        assert "\n" not in complaint(text, name)


def complaint(text, name):
    try:
        parse(text, name, "ESW")
    except SpawnError as error:
        return str(error)
    return ""


def test_fifty_may_be_listed():
    assert len(parse(listed(MOST_CONTAINERS), "x.yaml", "ESW")) == MOST_CONTAINERS


def test_what_this_machine_cannot_start_is_a_mistake_of_the_file(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)

    def check(wanted):
        if wanted.obs_mode_file:
            raise SpawnError("obsModeConfigPath: there is no such file")

    with pytest.raises(SpawnError, match=rf"^{path}:4: containers.1: obsModeConfigPath: there is no such file$"):
        read(path, "ESW", check)


@pytest.mark.parametrize(("content", "what"), [(None, "no such file"), (b"\xff", "UTF-8"), (b" " * (3 << 20), "2 MiB")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, what):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpawnError, match=what) as caught:
        read(path, "ESW", lambda _wanted: None)
    assert str(path) in str(caught.value)
    assert "site config" not in str(caught.value)


class Spawning:
    """Takes spawns, and lets the test end them."""

    def __init__(self, number=20):
        self.clock, self.under_way, self.most = Clock(), [], 0
        self.wanted = parse(listed(number), "x.yaml", "ESW")
        self.result = ensureDeferred(spawn_all(self.clock, self.wanted, self.spawn))

    async def spawn(self, wanted):
        done = Deferred()
        self.under_way.append(done)
        self.most = max(self.most, len(self.under_way))
        return await done

    def end_all(self, answer):
        under_way, self.under_way = self.under_way, []
        for done in under_way:
            done.callback(answer)


def answers(deferred):
    found = []
    deferred.addCallback(found.append)
    return found[0] if found else None


def test_at_most_eight_are_spawned_at_once_and_all_are_told():
    spawning = Spawning(20)
    while spawning.under_way:
        spawning.end_all(SPAWNED)
    assert spawning.most == 8
    assert answers(spawning.result) == {str(one.component.prefix): SPAWNED for one in spawning.wanted}


def test_one_that_fails_does_not_hold_up_the_others():
    spawning = Spawning(2)
    spawning.under_way[0].callback({"_type": "Failed", "msg": "why"})
    spawning.under_way[1].callback(SPAWNED)
    assert [answer["_type"] for answer in answers(spawning.result).values()] == ["Failed", "Spawned"]


def test_what_has_not_been_begun_in_time_is_not_begun_any_more():
    spawning = Spawning(50)
    while spawning.under_way:
        spawning.clock.advance(20)
        spawning.end_all(SPAWNED)
    found = answers(spawning.result)
    assert [answer["_type"] for answer in found.values()] == ["Spawned"] * 16 + ["Failed"] * 34
    assert "has not been begun with" in found["ESW.c49"]["msg"]
    assert spawning.clock.seconds() <= 60
