"""The registries of both packages keep the same book of the agents of both."""

import signal
import time

import pytest

from tests.harness.peers import SIDES

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def book(start):
    """A registry of each side, and how to read what it says of an agent."""
    registries = {side: start(side, f"registry-{side}", "RegistryAgent", ["--wait-time", "1"]) for side in SIDES}
    for registry in registries.values():
        registry.wait_until_ready()

    def read(side, address):
        session = registries[side].call(".ops", "status", "main")[2]
        return (session.get("data") or {}).get(address, {})

    return read


@pytest.fixture
def lab(module_site, run_agent, pythons):
    """A fake data agent of a side, of the test's own."""

    def begin(side, instance_id):
        module_site.add_instance("FakeDataAgent", instance_id, ["--mode", "acq"])
        return run_agent(instance_id, site=module_site, python=pythons[side])

    return begin


def until(read, wanted, timeout=15.0):
    """Wait until what is read is as wanted, and return it."""
    deadline = time.monotonic() + timeout
    while not wanted(entry := read()):
        assert time.monotonic() < deadline, entry
        time.sleep(0.05)
    return entry


@pytest.mark.parametrize("side", SIDES)
def test_both_registries_tell_the_same_of_an_agent_alive_and_gone(book, lab, side):
    agent = lab(side, f"fake-{side}")
    alive = [until(lambda r=r: book(r, agent.address), lambda e: e.get("op_codes", {}).get("acq") == 3) for r in SIDES]

    ours, published = alive
    assert set(ours) >= set(published)
    assert ours["op_codes"] == published["op_codes"]
    assert [e["expired"] for e in alive] == [False, False]
    assert {(e["agent_class"], e["agent_address"]) for e in alive} == {("FakeDataAgent", agent.address)}
    assert abs(ours["last_updated"] - published["last_updated"]) < 2

    agent.kill()
    died = time.time()
    gone = [until(lambda r=r: book(r, agent.address), lambda e: e["expired"]) for r in SIDES]

    assert [set(e["op_codes"].values()) for e in gone] == [{7}, {7}]
    assert gone[0]["op_codes"].keys() == gone[1]["op_codes"].keys()
    for entry in gone:
        assert 3 < entry["time_expired"] - died < 9

    again = lab(side, f"fake-{side}")
    back = [until(lambda r=r: book(r, again.address), lambda e: not e["expired"]) for r in SIDES]
    assert [e["op_codes"]["acq"] in (1, 2, 3) for e in back] == [True, True]
    again.process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(("reader", "other"), [("ours", "published"), ("published", "ours")])
def test_the_registries_know_each_other(book, reader, other):
    entry = until(lambda: book(reader, f"observatory.registry-{other}"), bool)

    assert entry["op_codes"]["main"] == 3
