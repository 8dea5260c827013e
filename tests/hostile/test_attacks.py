"""Each attack at a closed site is refused, and the page tells of each what was measured."""

from pathlib import Path

import pytest

from tests.hostile.attacks import ATTACKS
from tests.hostile.measure import BEGIN, END, outcome, tried_by
from tests.hostile.sites import CLIENT, KINDS, AttackedSite

pytestmark = [pytest.mark.faults, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "user" / "attacks.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A closed site, for all attacks one after the other."""
    with AttackedSite("closed", tmp_path_factory.mktemp("attacked")) as attacked:
        yield attacked
        assert attacked.is_well()


@pytest.fixture(scope="module")
def open_site(tmp_path_factory):
    """An open site: where an attack works, so that a refusal elsewhere says something."""
    with AttackedSite("open", tmp_path_factory.mktemp("open")) as attacked:
        yield attacked


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_is_refused(site, attack):
    # A flood is judged by how soon others are answered; where other tests have the machine meanwhile, by two of them.
    tries = 2 if attack.group == "floods" else 1
    worked = [who for who in tried_by(attack, site) if all(outcome(attack, site, who) == "works" for _ in range(tries))]
    assert not worked, f"it worked for: {', '.join(worked)}"


@pytest.mark.parametrize(
    "attack",
    [one for one in ATTACKS if one.name in ("join-without-a-key", "forge-a-heartbeat", "publish-anothers-feed")],
    ids=lambda attack: attack.name,
)
def test_the_same_attack_works_where_everybody_may_do_everything(open_site, attack):
    assert outcome(attack, open_site, CLIENT) == "works"


def rows():
    """Name of the attack's sentence to the results of the kinds of site."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {cells[1]: cells[-len(KINDS) :] for cells in lines if len(cells) > len(KINDS)}


def test_the_page_has_each_attack_refused():
    told = rows()
    for attack in ATTACKS:
        assert told[attack.sentence][0] == "refused", attack.name
    assert {attack.sentence for attack in ATTACKS} <= set(told)
