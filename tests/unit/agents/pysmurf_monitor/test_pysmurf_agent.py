"""The agent's documented surface, without a router."""

import json
import queue
import threading

import pytest

from ocs.agents.pysmurf_monitor import agent as module
from ocs.agents.pysmurf_monitor.agent import PysmurfMonitor, create_remote_path, make_parser
from ocs.op_session import OpSession
from tests.harness.fakes import unconnected_agent
from tests.harness.pysmurf import ACTION_TS, PUB_ID, datagram, each_once, file_datagram, make_file
from tests.harness.reactor import SteppedReactor

ADDRESS = ("127.0.0.1", 4711)


@pytest.fixture
def parsed(tmp_path):
    return make_parser().parse_args(["--db-path", str(tmp_path / "suprsync.db"), "--allow-root", str(tmp_path)])


@pytest.fixture
def ocs_agent(tmp_path):
    return unconnected_agent(SteppedReactor(), state_dir=str(tmp_path / "state"), working_dir=str(tmp_path))


@pytest.fixture
def monitor(ocs_agent, parsed):
    return PysmurfMonitor(ocs_agent, parsed)


def test_it_has_the_documented_attributes(monitor, ocs_agent, tmp_path):
    assert monitor.agent is ocs_agent
    assert monitor.log is ocs_agent.log
    assert isinstance(monitor.file_queue, queue.Queue)
    assert monitor.db_path == str(tmp_path / "suprsync.db")
    assert (monitor.running, monitor.echo_sql) == (False, False)


def test_the_documented_helper_is_there():
    meta = {"path": "/a/b/c/d.g3"}
    assert create_remote_path(meta, "timestreams") == "b/c/d.g3"


@pytest.mark.parametrize("kind", [bytes, bytes.decode])
def test_an_announced_file_is_queued_with_its_metadata(monitor, tmp_path, kind):
    monitor.datagramReceived(kind(file_datagram(tmp_path / "a.npy", action="take_iv")), ADDRESS)
    meta = monitor.file_queue.get_nowait()
    assert (meta["path"], meta["pub_id"], meta["action"]) == (str(tmp_path / "a.npy"), PUB_ID, "take_iv")


def test_a_message_is_published_at_once(monitor, ocs_agent):
    monitor.datagramReceived(datagram("session_data", number=1), ADDRESS)
    assert ocs_agent.outbox.size > 0


@pytest.mark.parametrize("data", [b"", "text", b"\xff", "\ud800", json.dumps([1])])
def test_what_is_no_message_is_refused(monitor, ocs_agent, data):
    monitor.datagramReceived(data, ADDRESS)
    assert sum(monitor._refusals.counts.values()) == 1
    assert monitor.file_queue.empty()


def test_the_queue_is_bounded(monitor, tmp_path, monkeypatch):
    monitor.file_queue = queue.Queue(3)
    for number in range(5):
        monitor.datagramReceived(file_datagram(tmp_path / f"{number}.npy"), ADDRESS)
    assert monitor.file_queue.qsize() == 3
    assert monitor._counters.overflowed == 2


def test_run_enters_what_was_queued_and_ends_in_test_mode(monitor, ocs_agent, tmp_path):
    files = [make_file(tmp_path / "data" / f"{number}.npy") for number in range(3)]
    for path in files:
        monitor.datagramReceived(file_datagram(path), ADDRESS)
    session = OpSession(0, "run", app=ocs_agent)
    assert monitor.run(session, {"test_mode": True})[0]
    assert each_once(monitor.db_path, files) == ""
    assert session.data["files_entered_total"] == 3
    assert not monitor.running


def test_a_queued_dict_that_is_no_announcement_is_refused(monitor, ocs_agent, tmp_path):
    path = make_file(tmp_path / "data" / "a.npy")
    monitor.file_queue.put({"path": "../x"})
    monitor.file_queue.put({"not": object()})
    monitor.datagramReceived(file_datagram(path), ADDRESS)
    monitor.run(OpSession(0, "run", app=ocs_agent), {"test_mode": True})
    assert each_once(monitor.db_path, [path]) == ""
    assert sum(monitor._refusals.counts.values()) == 2


def test_run_is_running_until_it_is_stopped(monitor, ocs_agent):
    session = OpSession(0, "run", app=ocs_agent)
    assert not monitor.stop_run(session)[0]
    results = []
    thread = threading.Thread(target=lambda: results.append(monitor.run(session, None)))
    thread.start()
    while not monitor.running:
        thread.join(0.01)
    assert monitor.stop_run(session)[0]
    thread.join(10)
    assert results[0][0]
    assert not monitor.running


def test_a_rescan_needs_run(monitor, ocs_agent, tmp_path):
    ok, why = monitor.rescan(OpSession(0, "rescan", app=ocs_agent), {"path": str(tmp_path)})
    assert not ok
    assert "run" in why


def test_a_timestream_keeps_its_archive_through_the_queue(monitor, ocs_agent, tmp_path):
    path = make_file(tmp_path / "17900" / "s1" / f"{ACTION_TS}.g3")
    monitor.file_queue.put({"path": str(path), "archive_name": "timestreams", "pub_id": "s1"})
    monitor.run(OpSession(0, "run", app=ocs_agent), {"test_mode": True})
    assert each_once(monitor.db_path, [path]) == ""


def test_the_state_is_beside_the_database_where_there_is_no_state_dir(parsed):
    monitor = PysmurfMonitor(unconnected_agent(SteppedReactor()), parsed)
    assert str(monitor._folder) == f"{monitor.db_path}.monitor"


def test_the_module_names_what_is_documented():
    assert {"PysmurfMonitor", "create_remote_path", "main", "make_parser"} <= set(module.__all__)
