"""OCSClient, ours and the published one, against agents of both: the same script, the same answers."""

from pathlib import Path

import pytest

from tests.harness.peers import SIDES, answers

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent
CLASSIC = HERE / "agents" / "classic.py"
DRIVE = HERE / "scripts" / "drive_client.py"
REPLIES = (
    "never_run",
    "end_what_does_not_run",
    "call_a_task",
    "start_and_wait",
    "no_parameters",
    "bad_parameters",
    "failures",
    "task_waits_and_is_aborted",
    "process_from_a_thread",
    "process_in_the_reactor",
    "unknown_operations",
)
# What no two runs have the same.
PASSING = ("session_id", "start_time", "end_time", "messages", "data")


@pytest.fixture(scope="module")
def transcripts(start, pythons, module_site):
    """What came of the script, by (client, agent); each drives an agent of its own that has not been used before."""
    pairs = {(client, agent): f"{client}-{agent}" for client in SIDES for agent in SIDES}
    for agent in [start(pair[1], name, "ClassicAgent", program=[str(CLASSIC)]) for pair, name in pairs.items()]:
        agent.wait_until_ready()
    return {pair: answers(pythons[pair[0]], str(DRIVE), name, *module_site.args) for pair, name in pairs.items()}


def replies_in(step):
    return [each for each in (step if isinstance(step, list) else [step]) if isinstance(each, dict) and "code" in each]


def state(reply):
    """Of a reply, what must be the same whoever carried it."""
    session = {key: value for key, value in reply["session"].items() if key not in PASSING}
    return reply["code"], reply["msg"], session


def outcome(reply):
    """Of a reply, what must be the same whoever answered it: of a session that goes on, only that it does."""
    session = reply["session"]
    if session.get("status") in ("starting", "running", "stopping"):
        return reply["code"], "live", session["op_name"]
    texts = [text.partition(":")[0] for _, text in session.get("messages", []) if '"stopping"' not in text]
    data = session.get("data")
    counters = {key: None for key in ("count", "ticks", "step") if key in (data or {})}
    data = {**data, **counters} if data else data
    return reply["code"], session.get("success"), session.get("op_code"), data, texts


@pytest.mark.parametrize("agent", SIDES)
@pytest.mark.parametrize("step", ["attributes", "methods", "docstring"])
def test_an_agent_grows_the_same_attributes_on_both_clients(transcripts, step, agent):
    ours, published = (transcripts[client, agent][step] for client in SIDES)
    reference = transcripts["published", "published"][step]

    assert ours == published == reference
    assert reference


@pytest.mark.parametrize("agent", SIDES)
@pytest.mark.parametrize("step", REPLIES)
def test_both_clients_bring_back_the_same_reply(transcripts, step, agent):
    ours, published = ([state(r) for r in replies_in(transcripts[client, agent][step])] for client in SIDES)

    if step in ("start_and_wait", "process_from_a_thread", "task_waits_and_is_aborted", "process_in_the_reactor"):
        # A snapshot of a moment: how far the operation has come is not the client's doing.
        ours, published = ([reply[:2] for reply in each] for each in (ours, published))
    assert ours == published
    assert ours


@pytest.mark.parametrize("client", SIDES)
@pytest.mark.parametrize("step", REPLIES)
def test_both_agents_answer_with_the_same_outcome(transcripts, step, client):
    ours, published = (replies_in(transcripts[client, agent][step]) for agent in SIDES)

    assert len(ours) == len(published)
    for mine, other in zip(ours, published, strict=True):
        if other["session"]:
            assert outcome(mine) == outcome(other)
            assert set(mine["session"]) >= set(other["session"])
        else:  # ours may show the last session where the published one has forgotten it
            assert mine["code"] == other["code"]


@pytest.mark.parametrize(
    ("step", "index", "text"),
    [
        ("task_waits_and_is_aborted", 1, "already in progress"),
        ("task_waits_and_is_aborted", 2, "wait timed out"),
        ("task_waits_and_is_aborted", 3, "wait timed out"),
        ("process_from_a_thread", 2, "already in progress"),
        ("process_from_a_thread", 4, "wait timed out"),
        ("end_what_does_not_run", 0, "No session active."),
        ("end_what_does_not_run", 1, "No session active."),
        ("unknown_operations", 0, 'No task or process called "nothing"'),
    ],
)
def test_messages_that_scripts_look_for_are_there(transcripts, step, index, text):
    for pair, transcript in transcripts.items():
        assert text in transcript[step][index]["msg"], pair


@pytest.mark.parametrize("client", SIDES)
def test_an_operation_above_the_level_may_be_used_where_no_policy_is_in_force(transcripts, client):
    # The published agent refuses it; ours does as the contract says.
    reply = transcripts[client, "ours"]["above_the_level"]

    assert reply["code"] == "OK"
    assert reply["session"]["cred_level"] == 1


@pytest.mark.parametrize("client", SIDES)
def test_a_start_up_operation_has_the_same_level_as_with_the_published_package(transcripts, client):
    levels = [transcripts[client, agent]["process_in_the_reactor"][0]["session"]["cred_level"] for agent in SIDES]

    assert levels == [1, 1]


@pytest.mark.parametrize("step", ["unknown_agent", "unknown_attribute"])
@pytest.mark.parametrize("agent", SIDES)
def test_what_scripts_catch_is_raised_by_both_clients(transcripts, step, agent):
    ours, published = (transcripts[client, agent][step]["raised"] for client in SIDES)

    assert set(ours) >= set(published)  # ours may have further bases
    assert published


@pytest.mark.parametrize(("client", "agent"), [("ours", "published"), ("published", "ours")])
def test_a_reply_reads_well(transcripts, client, agent):
    reply = transcripts[client, agent]["call_a_task"]

    assert reply["repr"].startswith("OCSReply: OK")
    for part in (reply["msg"], "double", "doubling", 'Status is now "done".'):
        assert part in reply["repr"]
