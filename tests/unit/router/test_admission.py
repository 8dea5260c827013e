"""Who a closed router lets in while its table changes, and how much it says of those whom it does not."""

import os

import pytest

from ocs.errors import KeysError
from ocs.keys.signing import SigningKey
from ocs.keys.table import Identity, PublicKey, SiteTable
from ocs.router.admission import MOST_STRANGERS, TELL_AGAIN_S, Admission

KEY = SigningKey(bytes(range(32)), "a")
AGENT = Identity("a", "agent", ("a", "b"), (PublicKey(KEY.public),))


class World:
    def __init__(self, folder):
        self.folder, self.now, self.lines = folder, 1000.0, []
        self.write(AGENT)
        self.admission = Admission(folder, lambda: self.now, self.lines.append)

    def write(self, *identities):
        SiteTable({each.name: each for each in identities}).write(self.folder)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_who_is_in_the_table_is_let_in(world):
    assert world.admission.admit("a", KEY.public, "x") == AGENT
    assert world.lines == []


@pytest.mark.parametrize(("name", "public"), [("b", KEY.public), ("a", "0" * 64), (None, None), ("a", None), (1, [2])])
def test_others_are_not_and_it_is_told_from_where(world, name, public):
    with pytest.raises(KeysError):
        world.admission.admit(name, public, "192.0.2.1")
    assert "refused 192.0.2.1" in world.lines[0]


def test_a_change_of_the_table_is_seen_once(world):
    assert not world.admission.refresh()
    world.write()
    assert world.admission.refresh()
    assert not world.admission.refresh()
    with pytest.raises(KeysError):
        world.admission.admit("a", KEY.public, "x")


@pytest.mark.parametrize("harm", ["cut", "gone", "open"])
def test_a_broken_table_is_told_of_once_and_the_last_good_one_holds(world, harm):
    path = world.folder / "site.json"
    if harm == "cut":
        path.write_text(path.read_text()[:40])
    elif harm == "gone":
        path.unlink()
    else:
        path.chmod(0o666)
        os.utime(path, ns=(1, 1))
    for _ in range(3):
        assert not world.admission.refresh()
    assert len(world.lines) == 1
    assert world.admission.admit("a", KEY.public, "x") == AGENT


def test_without_a_table_it_does_not_begin(tmp_path):
    with pytest.raises(KeysError, match="ocs keys init"):
        Admission(tmp_path, lambda: 0.0, print)


@pytest.mark.parametrize(
    ("now", "good"),
    [
        (AGENT, True),
        (Identity("a", "agent", ("a", "b", "c"), AGENT.keys), True),
        (Identity("a", "agent", ("a", "b"), (PublicKey("0" * 64), *AGENT.keys)), True),
        (Identity("a", "agent", ("a", "b"), (PublicKey(KEY.public, 1001.0),)), True),
        (Identity("a", "agent", ("a", "b"), (PublicKey(KEY.public, 1000.0),)), False),
        (Identity("a", "agent", ("a", "b"), (PublicKey("0" * 64),)), False),
        (Identity("a", "agent", ("a",), AGENT.keys), False),
        (Identity("a", "client", (), AGENT.keys), False),
        (Identity("b", "agent", ("a", "b"), AGENT.keys), False),
    ],
)
def test_who_is_inside_stays_as_long_as_it_has_all_that_it_had(world, now, good):
    world.write(now)
    world.admission.refresh()
    assert world.admission.is_good(AGENT, KEY.public) is good


def test_who_was_never_known_is_not_good(world):
    assert not world.admission.is_good(None, KEY.public)


def test_a_flood_of_strangers_is_told_of_in_bounds(world):
    def flood(count):
        for number in range(count):
            with pytest.raises(KeysError):
                world.admission.admit(f"{number}" + "x" * 100_000, "y", "192.0.2.1")

    flood(10 * MOST_STRANGERS)
    assert len(world.lines) == MOST_STRANGERS
    assert "not told of" in world.lines[-1]
    assert max(map(len, world.lines)) < 600
    world.now += TELL_AGAIN_S
    flood(3)
    assert len(world.lines) == MOST_STRANGERS + 3


def test_one_who_tries_again_and_again_is_told_of_each_minute(world):
    for _ in range(120):
        with pytest.raises(KeysError):
            world.admission.admit("b", "y", "192.0.2.1")
        world.now += 1
    assert len(world.lines) == 2
