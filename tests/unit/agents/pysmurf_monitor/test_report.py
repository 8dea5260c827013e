"""What operators see."""

import pytest

from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.receiver_status import ReceiverStatus
from ocs.agents.pysmurf_monitor.report import Counters, Database, Lost, Refusals, Snapshot, session_data, troubles
from ocs.agents.pysmurf_monitor.state import Pending

WELL = Snapshot(Database("/db"))
RUNNING = ReceiverStatus(running=True, port=8200)


def pending(path, **changes):
    announcement = Announcement(path, "p", "smurf", "r", True, 1.0)
    return Pending(
        announcement, **{"index": 1, "attempts": 2, "since": 3.0, "next": 4.0, "reason": "is not there", **changes}
    )


def test_session_data_has_the_documented_keys():
    data = session_data(Counters(), {}, RUNNING, WELL)
    assert list(data) == [
        "datagrams_received_total",
        "datagrams_dropped_total",
        "datagrams_refused_total",
        "datagrams_ignored_total",
        "files_announced_total",
        "files_queued",
        "files_hashed_total",
        "bytes_hashed_total",
        "files_entered_total",
        "files_known_total",
        "files_pending",
        "messages_published_total",
        "refused",
        "pending",
        "database",
        "receiver",
        "in_work",
        "last_entered",
    ]
    assert list(data["database"]) == ["path", "state", "message", "since"]
    assert sorted(data["receiver"]) == [
        "buffer_bytes",
        "journal_bytes",
        "kernel_drops",
        "port",
        "restarts",
        "running",
        "trouble",
        "waiting_bytes",
    ]


def test_all_losses_are_added_up():
    counters = Counters(missed=1, overflowed=10)
    receiver = ReceiverStatus(dropped=100, kernel_drops=1000)
    assert session_data(counters, {}, receiver, WELL)["datagrams_dropped_total"] == 1111


def test_pending_files_are_told_with_their_reasons_and_not_too_many():
    many = [pending(f"/data/{number}") for number in range(80)]
    data = session_data(
        Counters(), {"x": 2, "y": 3}, RUNNING, Snapshot(Database("/db"), pending_count=80, pending=many)
    )
    assert data["files_pending"] == 80
    assert len(data["pending"]) == 50
    assert data["pending"][0] == {"path": "/data/0", "since": 3.0, "attempts": 2, "next": 4.0, "reason": "is not there"}
    assert (data["refused"], data["datagrams_refused_total"]) == ({"x": 2, "y": 3}, 5)


def wrong(receiver=RUNNING, now=WELL, lost=0):
    return troubles(receiver, now, lost=lost, journal_bound=100 << 20)


def test_nothing_is_wrong_with_one_that_does_its_work():
    assert wrong() == {}


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("database locked", {"now": Snapshot(Database("/db", "locked", "/db is held"))}),
        ("state", {"now": Snapshot(Database("/db"), state_trouble="full")}),
        ("receiver", {"receiver": ReceiverStatus(running=True, trouble="the disk is full")}),
        ("lost", {"lost": 5}),
        ("journal", {"receiver": ReceiverStatus(running=True, journal_bytes=90 << 20)}),
    ],
)
def test_each_trouble_is_told_in_one_line(kind, what):
    found = wrong(**what)
    assert list(found) == [kind]
    assert found[kind]
    assert "\n" not in found[kind]


def test_losses_are_trouble_for_a_minute():
    now = [0.0]
    lost = Lost(lambda: now[0])
    assert not lost.lately(0)
    assert lost.lately(3)
    now[0] = 59
    assert lost.lately(3)
    now[0] = 61
    assert not lost.lately(3)
    assert lost.lately(4)


def test_a_refusal_is_told_once_a_minute_for_each_reason():
    now, lines = [0.0], []
    refusals = Refusals(lines.append, lambda: now[0])
    for _ in range(100):
        refusals.add("not_json", "Expecting value", b"\x00\xff" * 100, "10.0.0.5:4711")
    refusals.add("bad_path", "leads upwards")
    assert refusals.counts == {"not_json": 100, "bad_path": 1}
    assert len(lines) == 2
    assert "10.0.0.5:4711" in lines[0]
    now[0] = 61
    refusals.add("not_json")
    assert "100 since" in lines[2]


def test_what_is_logged_of_a_refusal_is_printable_and_short():
    lines = []
    Refusals(lines.append).add("x", "\x1b[31m" * 500, b"\x1b\n" * 5000, "host")
    assert lines[0].isprintable()
    assert len(lines[0]) < 1000
