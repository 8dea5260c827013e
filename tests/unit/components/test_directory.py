"""The directory of components against a simple model of a router, whatever the order in which it hears of things."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from ocs.components.directory import Directory
from ocs.components.names import ComponentId, Prefix, uri_of

ROOT = "observatory"
NAMES = [ComponentId(Prefix("ESW", name), kind) for name in "ab" for kind in ("Service", "Machine")]
AGENTS = ["fake-1", "fake-2"]
URIS = [uri_of(ROOT, name) for name in NAMES] + [f"{ROOT}.{name}" for name in AGENTS] + [f"{ROOT}.fake-1.ops"]
FAKE = ComponentId(Prefix("OCS", "fake-1"), "Agent")


def agent(name):
    return ComponentId(Prefix("OCS", name), "Agent")


class RouterAndDirectory(RuleBasedStateMachine):
    """A router whose news, list and answers reach the directory late, each in their own time."""

    def __init__(self):
        super().__init__()
        self.directory = Directory(ROOT)
        self.registered = {}  # what the router has: number → uri
        self.words = {}  # what a component would answer now
        self.numbers = iter(range(1, 10_000))
        self.to_get, self.to_ask, self.news = set(), set(), []
        self.has_list = False

    registrations = Bundle("registrations")

    @rule(target=registrations, uri=st.sampled_from(URIS))
    def register(self, uri):
        if uri in self.registered.values():
            return -1
        number = next(self.numbers)
        self.registered[number] = uri
        self.words[number] = {"metadata": {"pid": number}}
        self.news.append(("made", number, uri))
        return number

    @rule(number=consumes(registrations))
    def unregister(self, number):
        if self.registered.pop(number, None):
            self.news.append(("lost", number, ""))

    @precondition(lambda self: self.news)
    @rule()
    def hear(self):
        what, number, uri = self.news.pop(0)
        if what == "lost":
            self.directory.drop(number)
        elif self.directory.add(number, uri):
            self.to_ask.add(number)

    @rule()
    def read_list(self):
        """The list is as new as the router; the news before it may still be on the way."""
        self.to_get.update(self.directory.expect(list(self.registered)))
        self.has_list = True

    @precondition(lambda self: self.to_get)
    @rule(data=st.data())
    def get(self, data):
        number = data.draw(st.sampled_from(sorted(self.to_get)))
        self.to_get.discard(number)
        if number not in self.registered:
            self.directory.drop(number)
        elif self.directory.add(number, self.registered[number]):
            self.to_ask.add(number)

    @precondition(lambda self: self.to_ask)
    @rule(data=st.data())
    def answer(self, data):
        number = data.draw(st.sampled_from(sorted(self.to_ask)))
        self.to_ask.discard(number)
        self.directory.describe(number, self.words.get(number) if number in self.registered else None)

    @rule()
    def reconnect(self):
        self.directory.clear()
        self.to_get.clear()
        self.to_ask.clear()
        self.news.clear()
        assert not self.directory.is_complete
        self.read_list()

    @invariant()
    def knows_nothing_that_it_has_been_told_is_gone(self):
        gone_and_heard = {uri for uri in URIS if uri not in self.registered.values()} - {
            uri for what, _, uri in self.news if what == "made"
        }
        pending = {number for what, number, _ in self.news if what == "lost"}
        for kind in ("Service", "Machine", "Agent"):
            for found in self.directory.of_type(kind):
                assert found.uri not in gone_and_heard or pending or self.to_get or self.to_ask

    @invariant()
    def is_right_once_all_has_reached_it(self):
        if self.news or self.to_get or self.to_ask or not self.has_list:
            return
        assert self.directory.is_complete
        known = set(self.registered.values())
        for name in NAMES:
            found = self.directory.find(name)
            assert (found is not None) == (uri_of(ROOT, name) in known)
            assert found is None or self.registered[found.metadata["pid"]] == found.uri
        for name in AGENTS:
            assert (self.directory.find(agent(name)) is not None) == (f"{ROOT}.{name}" in known)
        assert sum(self.directory.counts().values()) == len(known - {f"{ROOT}.fake-1.ops"})


TestRouterAndDirectory = RouterAndDirectory.TestCase


@pytest.fixture
def directory():
    return Directory(ROOT)


def test_it_is_complete_when_all_of_the_list_is_described(directory):
    assert directory.expect([1, 2]) == [1, 2]
    assert directory.add(1, URIS[0])
    assert not directory.add(2, f"{ROOT}.fake-1.ops")
    assert not directory.is_complete
    directory.describe(1, {"metadata": {}})
    assert directory.is_complete


def test_an_empty_list_is_complete_at_once(directory):
    assert directory.expect([]) == []
    assert directory.is_complete


def test_what_has_not_described_itself_yet_is_told_apart(directory):
    directory.expect([])
    directory.add(1, uri_of(ROOT, NAMES[0]))
    directory.add(2, uri_of(ROOT, NAMES[1]))
    assert directory.undescribed == {1, 2}
    directory.describe(1, {})
    before = directory.revision
    directory.drop(2)
    assert directory.undescribed == set()
    assert directory.revision != before


def test_what_comes_later_does_not_make_it_incomplete(directory):
    directory.expect([])
    assert directory.add(5, URIS[0])
    assert directory.is_complete
    assert directory.find(NAMES[0]) is None


@pytest.mark.parametrize("words", [None, 3, "x", [], {}, {"metadata": 3}, {"metadata": None}])
def test_a_component_that_makes_no_sense_has_no_metadata(directory, words):
    directory.add(1, URIS[0])
    directory.describe(1, words)
    assert directory.find(NAMES[0]).metadata == {}


def test_a_later_answer_takes_the_place_of_an_earlier_one(directory):
    directory.add(1, URIS[0])
    directory.describe(1, None)
    before = directory.revision
    directory.describe(1, {"metadata": {"pid": 3}})
    assert directory.find(NAMES[0]).metadata == {"pid": 3}
    assert directory.revision != before


def test_an_agent_that_describes_itself_as_a_component_is_found_so(directory):
    directory.add(1, f"{ROOT}.fake-1")
    assert directory.find(FAKE).metadata == {"instanceId": "fake-1"}
    directory.add(2, uri_of(ROOT, FAKE))
    directory.describe(2, {"metadata": {"pid": 7}})
    assert directory.find(FAKE).metadata == {"pid": 7}
    assert len(directory.of_type("Agent")) == 1
    assert directory.counts() == {"Agent": 1}
    directory.drop(2)
    assert directory.find(FAKE).metadata == {"instanceId": "fake-1"}


def test_an_agent_that_has_not_got_its_address_serves_nobody(directory):
    directory.add(2, uri_of(ROOT, FAKE))
    directory.describe(2, {"metadata": {"pid": 7}})
    assert directory.find(FAKE)
    assert not directory.serves(FAKE)
    directory.add(1, f"{ROOT}.fake-1")
    assert directory.serves(FAKE)
    directory.drop(1)
    assert not directory.serves(FAKE)


def test_another_component_serves_as_soon_as_it_is_found(directory):
    directory.add(1, URIS[0])
    assert not directory.serves(NAMES[0])
    directory.describe(1, None)
    assert directory.serves(NAMES[0])


def test_a_description_after_the_end_is_not_taken(directory):
    directory.add(1, URIS[0])
    directory.drop(1)
    directory.describe(1, {"metadata": {}})
    assert directory.find(NAMES[0]) is None


def test_what_is_known_to_be_gone_does_not_come_back(directory):
    directory.drop(1)
    assert not directory.add(1, URIS[0])
    assert directory.expect([1]) == []


def test_all_of_a_type_are_told_by_name(directory):
    for number, uri in enumerate(reversed(URIS[:4])):
        directory.add(number, uri)
        directory.describe(number, None)
    assert [str(found.component) for found in directory.of_type("Service")] == ["Service ESW.a", "Service ESW.b"]
