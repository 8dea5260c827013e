"""The pysmurf monitor as a process on a real router: real datagrams in, rows and feeds out."""

import os
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager

import pytest

from tests.harness.listener import Listener
from tests.harness.pysmurf import (
    ACTION_TS,
    PUB_ID,
    announce,
    datagram,
    each_once,
    entered,
    file_datagram,
    free_udp_port,
    g3_datagram,
    is_bound,
    make_file,
    make_files,
    md5,
    rows,
)
from tests.harness.registering import read_only_disk
from tests.harness.waiting import wait_for

LIMIT = 40.0
NAME = "pysmurf-monitor"


class Monitor:
    """A monitor of a test's own: its port, its database, the folder where it enters files."""

    def __init__(self, site, run_agent, folder):
        self.site, self._run_agent, self.folder = site, run_agent, folder
        self.port = free_udp_port()
        self.data = folder / "data"
        self.data.mkdir()
        self.db = folder / "db" / "suprsync.db"
        self.db.parent.mkdir()
        self.allowed = ["--allow-root", str(self.data)]

    def start(self, *arguments, site=None, idle=False):
        (site or self.site).add_instance(
            "PysmurfMonitor",
            NAME,
            ["--udp-port", self.port, "--bind", "127.0.0.1", "--db-path", str(self.db), *self.allowed, *arguments],
        )
        self.handle = self._run_agent(NAME, site=site)
        wait_for(lambda: is_bound(self.port), LIMIT)
        if not idle:
            wait_for(lambda: self.session["status"] == "running" and self.data_of_run, LIMIT)
        return self

    @property
    def client(self):
        return self.handle.client

    @property
    def session(self):
        return self.client.run.status().session

    @property
    def data_of_run(self):
        return self.session["data"]

    def announce(self, *datagrams):
        announce(self.port, *datagrams)

    def wait_for_files(self, files):
        wait_for(lambda: entered(self.db) >= len(files), LIMIT)
        assert each_once(self.db, files) == ""

    def wait_for_state(self, state):
        wait_for(lambda: self.data_of_run.get("database", {}).get("state") == state, LIMIT)

    def wait_until_well(self):
        wait_for(lambda: not self.session["degraded"], LIMIT)


@pytest.fixture
def make_monitor(site, run_agent, tmp_path):
    return Monitor(site, run_agent, tmp_path)


@pytest.fixture
def monitor(make_monitor):
    return make_monitor.start()


def test_an_announced_file_becomes_a_row(monitor):
    path = make_file(monitor.data / "20260102" / PUB_ID / str(ACTION_TS) / "outputs" / f"{ACTION_TS}_x.npy")
    before = time.time()
    monitor.announce(file_datagram(path, action="take_noise"))
    monitor.wait_for_files([path])
    [row] = rows(monitor.db)
    assert row["local_md5sum"] == md5(path)
    assert row["archive_name"] == "smurf"
    assert row["remote_path"] == f"{str(ACTION_TS)[:5]}/{PUB_ID}/{ACTION_TS}_take_noise/outputs/{path.name}"
    assert before - 1 <= row["timestamp"] <= time.time() + 1
    assert (row["failed_copy_attempts"], row["ignore"], row["copied"]) == (0, 0, None)


def test_a_closed_timestream_becomes_a_row(monitor):
    path = make_file(monitor.data / "17900" / PUB_ID / f"{ACTION_TS}_000.g3")
    monitor.announce(g3_datagram(path))
    monitor.wait_for_files([path])
    [row] = rows(monitor.db)
    assert (row["archive_name"], row["remote_path"]) == ("timestreams", f"17900/{PUB_ID}/{path.name}")


def test_session_data_tells_what_was_done(monitor):
    files = make_files(monitor.data, 20)
    monitor.announce(*map(file_datagram, files), *map(file_datagram, files[:5]), b"nonsense", datagram("session_data"))
    wait_for(lambda: monitor.data_of_run["files_known_total"] == 5, LIMIT)
    wait_for(lambda: monitor.data_of_run["files_queued"] == 0, LIMIT)
    data = monitor.data_of_run
    assert data["datagrams_received_total"] == 27
    assert (data["files_announced_total"], data["files_entered_total"]) == (25, 20)
    assert data["bytes_hashed_total"] == sum(path.stat().st_size for path in [*files, *files[:5]])
    assert data["datagrams_refused_total"] == sum(data["refused"].values()) == 1
    assert (data["messages_published_total"], data["datagrams_dropped_total"], data["files_pending"]) == (1, 0, 0)
    assert data["receiver"]["port"] == monitor.port
    assert data["database"]["path"] == str(monitor.db)
    assert data["last_entered"]["path"] in map(str, files)


@contextmanager
def own_disk(folder):
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# Feeds


def test_sessions_are_published_whole_and_in_order(monitor, router, tmp_path):
    with Listener(router, f"{monitor.handle.address}.feeds.pysmurf_session_data", tmp_path) as listener:
        for number in range(50):
            monitor.announce(datagram("session_log" if number % 2 else "session_data", number=number, deep={"a": [1]}))
        wait_for(lambda: len(listener.events) == 50, LIMIT)
    assert [data["payload"]["number"] for data, _ in listener.events] == list(range(50))
    data, feed = listener.events[1]
    assert (data["id"], data["type"], data["payload"]["deep"]) == (PUB_ID, "session_log", {"a": [1]})
    assert not feed["record"]


def test_metadata_are_recorded_samples(monitor, router, tmp_path):
    values = [1, 2.5, "text", True, -(2**63)]
    sent = time.time() - 5
    with Listener(router, f"{monitor.handle.address}.feeds.crate1slot2_meta", tmp_path) as listener:
        for number, value in enumerate(values):
            path = f"AMCc.FpgaTopLevel[{number}].X"
            monitor.announce(
                datagram("metadata", pub_id="STREAMER:crate1slot2", sent=sent, path=path, value=value, type="x")
            )
        names = [f"AMCcFpgaTopLevel{number}X" for number in range(len(values))]
        wait_for(lambda: all(listener.column(name, name) for name in names), LIMIT)
        assert [listener.column(name, name) for name in names] == [[value] for value in values]
    data, feed = listener.events[0]
    assert feed["record"]
    assert data[names[0]]["timestamps"] == [pytest.approx(sent)]


def test_two_paths_with_one_legal_name_stay_apart(monitor, router, tmp_path):
    with Listener(router, f"{monitor.handle.address}.feeds.s1_meta", tmp_path) as listener:
        for value in range(3):
            monitor.announce(datagram("metadata", pub_id="STREAMER:s1", path="a.bc", value=value, type="int"))
            monitor.announce(datagram("metadata", pub_id="STREAMER:s1", path="ab.c", value=10 + value, type="int"))
        wait_for(lambda: len(listener.column("abc", "abc")) == 3, LIMIT)
        assert listener.column("abc", "abc") == [0, 1, 2]
        [other] = {block for data, _ in listener.events for block in data} - {"abc"}
        wait_for(lambda: listener.column(other, other) == [10, 11, 12], LIMIT)


# Hostile input


HOSTILE = [
    b"",
    b"\x00" * 100,
    os.urandom(1000),
    b"x" * 65_000,
    b"[1, 2]",
    b'"text"',
    b"null",
    b"{}",
    b"[" * 30_000,
    b'{"id": 5, "time": 1, "type": "data_file", "payload": {}}',
    b'{"id": "a", "time": 1e999, "type": "data_file", "payload": []}',
    datagram("rm -rf", path="/"),
    datagram("data_file"),
    datagram("metadata", pub_id="STREAMER:x", path=[], value={}),
    datagram("metadata", pub_id="STREAMER:x", path="a", value={"b": 1}, type="dict"),
    datagram("metadata", pub_id="STREAMER:x", path="a", value=2**70, type="int"),
    datagram("metadata", pub_id="STREAMER:../../x", path="a", value=1, type="int"),
]


def hostile_files(folder, inside):
    """Return announcements of files that must not become rows: by their paths, or by who or what announces them."""
    outside = make_file(folder / "outside.npy")
    link = inside.parent / "link.npy"
    link.symlink_to(outside)
    up = inside.parent / ".." / ".." / "outside.npy"
    paths = [outside, link, up, "/etc/passwd", "data/relative.npy", f"{inside}\x00", f"{inside}\n", inside.parent, ""]
    wrong = [{"action": "../../../etc"}, {"action": "a/b"}, {"action_ts": "x"}, {"action_ts": -5}, {"plot": "no"}]
    names = ["../../x", "a/b", "", "a\nb", ".hidden"]
    return [
        *(file_datagram(path) for path in paths),
        *(file_datagram(inside, **change) for change in wrong[:4]),
        *(file_datagram(inside, pub_id=name) for name in names),
        file_datagram(inside, archive_name="other"),
    ]


def test_hostile_datagrams_change_nothing_and_are_counted(monitor):
    inside = make_file(monitor.data / "inside.npy")
    good = make_files(monitor.data, 5)
    hostile = [*HOSTILE, *hostile_files(monitor.folder, inside)]
    monitor.announce(*hostile, *map(file_datagram, good))
    wait_for(lambda: monitor.data_of_run["datagrams_refused_total"] >= len(hostile) - 1, LIMIT)
    monitor.wait_for_files(good)
    wait_for(lambda: monitor.data_of_run["files_pending"] == 0, LIMIT)
    assert not monitor.session["degraded"]
    assert len(monitor.handle.output.splitlines()) < 100


def test_the_database_itself_is_no_file_to_enter(make_monitor):
    monitor = make_monitor
    monitor.allowed = ["--any-root"]
    monitor.start()
    state = next(monitor.site.state_dir.rglob("state.sqlite"))
    path = make_file(monitor.folder / "anywhere.npy")
    monitor.announce(*(file_datagram(each, format="db") for each in (monitor.db, state)), file_datagram(path))
    monitor.wait_for_files([path])
    wait_for(lambda: monitor.data_of_run["datagrams_refused_total"] == 2, LIMIT)


def test_files_are_entered_below_every_folder_that_is_allowed(make_monitor):
    monitor = make_monitor
    second = monitor.folder / "second"
    monitor.allowed += ["--allow-root", str(second)]
    monitor.start()
    files = [make_file(folder / "a.npy") for folder in (monitor.data, second)]
    monitor.announce(*map(file_datagram, files), file_datagram(make_file(monitor.folder / "third" / "a.npy")))
    monitor.wait_for_files(files)
    wait_for(lambda: monitor.data_of_run["datagrams_refused_total"] == 1, LIMIT)


# Trouble


def test_a_file_that_appears_later_is_pending_and_then_entered(monitor):
    late, good = monitor.data / "late.npy", make_files(monitor.data, 3)
    monitor.announce(file_datagram(late), *map(file_datagram, good))
    monitor.wait_for_files(good)
    [pending] = wait_for(lambda: monitor.data_of_run["pending"], LIMIT)
    assert (pending["path"], monitor.data_of_run["files_pending"]) == (str(late), 1)
    make_file(late)
    monitor.wait_for_files([late, *good])
    wait_for(lambda: monitor.data_of_run["files_pending"] == 0, LIMIT)


def test_it_waits_for_a_locked_database(monitor):
    files = make_files(monitor.data, 40)
    monitor.announce(file_datagram(files[0]))
    monitor.wait_for_files(files[:1])
    with closing(sqlite3.connect(monitor.db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monitor.announce(*map(file_datagram, files))
        monitor.wait_for_state("locked")
        assert monitor.session["degraded"]
        other.execute("ROLLBACK")
    monitor.wait_for_files(files)
    monitor.wait_until_well()


def test_it_waits_for_a_database_that_is_moved_away_and_back(make_monitor):
    monitor = make_monitor.start()
    files = make_files(monitor.data, 10)
    monitor.announce(*map(file_datagram, files[:5]))
    monitor.wait_for_files(files[:5])
    monitor.handle.stop()
    monitor.start("--create-table", "False")
    away = monitor.folder / "away.db"
    monitor.db.rename(away)
    monitor.announce(*map(file_datagram, files[5:]))
    monitor.wait_for_state("missing")
    assert monitor.session["degraded"]
    away.rename(monitor.db)
    monitor.wait_for_files(files)
    monitor.wait_until_well()


def test_it_waits_for_the_folder_of_its_database(make_monitor):
    monitor = make_monitor
    monitor.db.parent.rmdir()
    monitor.start()
    files = make_files(monitor.data, 10)
    monitor.announce(*map(file_datagram, files), file_datagram(monitor.data / "never.npy"))
    monitor.wait_for_state("missing")
    monitor.db.parent.mkdir()
    monitor.wait_for_files(files)
    monitor.wait_until_well()


def test_it_waits_for_a_disk_that_is_read_only(make_monitor):
    monitor = make_monitor
    with own_disk(monitor.db.parent):
        monitor.start()
        files = make_files(monitor.data, 10)
        monitor.announce(*map(file_datagram, files[:5]))
        monitor.wait_for_files(files[:5])
        monitor.client.run.stop()
        monitor.client.run.wait(timeout=10)
        with read_only_disk(monitor.db.parent):
            monitor.client.run.start()
            monitor.announce(*map(file_datagram, files[5:]))
            monitor.wait_for_state("read-only")
        monitor.wait_for_files(files)
        monitor.wait_until_well()
        monitor.handle.stop()


# Ending and beginning


def test_what_comes_while_run_is_stopped_is_entered_when_it_is_started(monitor):
    files = make_files(monitor.data, 30)
    monitor.announce(*map(file_datagram, files[:10]))
    monitor.wait_for_files(files[:10])
    monitor.client.run.stop()
    assert monitor.client.run.wait(timeout=10).session["success"]
    monitor.announce(*map(file_datagram, files[10:]))
    assert is_bound(monitor.port)
    monitor.client.run.start()
    monitor.wait_for_files(files)


def test_with_test_mode_run_is_started_by_a_client_and_ends_when_it_has_processed(make_monitor):
    monitor = make_monitor.start("--test-mode", idle=True)
    assert monitor.session == {}
    path = make_file(monitor.data / "a.npy")
    monitor.client.run.start(test_mode=True)
    monitor.announce(file_datagram(path))
    assert monitor.client.run.wait(timeout=20).session["success"]
    assert each_once(monitor.db, [path]) == ""


def test_ending_is_prompt_and_the_next_goes_on(monitor):
    files = make_files(monitor.data, 200)
    monitor.announce(*map(file_datagram, files))
    assert monitor.handle.stop(timeout=8) == 0
    assert not is_bound(monitor.port)
    monitor.start()
    monitor.wait_for_files(files)


def test_files_are_entered_while_the_router_is_away(make_monitor, own_router, make_site):
    monitor = make_monitor.start(site=make_site(own_router, "own"))
    files = make_files(monitor.data, 20)
    monitor.announce(*map(file_datagram, files[:10]))
    monitor.wait_for_files(files[:10])
    own_router.stop()
    monitor.announce(*map(file_datagram, files[10:]), datagram("session_data", number=1))
    monitor.wait_for_files(files)
    assert monitor.handle.process.poll() is None


# Rescan


def test_what_was_announced_to_nobody_is_found(monitor):
    output = monitor.data / "20260102" / PUB_ID / str(ACTION_TS)
    known = make_file(output / "outputs" / f"{ACTION_TS}_known.npy")
    monitor.announce(file_datagram(known, action="take_iv", action_ts=ACTION_TS - 7))
    monitor.wait_for_files([known])
    lost = [
        make_file(output / "outputs" / f"{ACTION_TS + 5}_lost.npy"),
        make_file(output / "plots" / f"{ACTION_TS + 6}_lost.png"),
        make_file(monitor.data / "17900" / "crate1slot3" / f"{ACTION_TS}_001.g3"),
        make_file(monitor.data / "20260102" / "crate1slot4" / str(ACTION_TS) / "outputs" / "alone.txt"),
    ]
    make_file(monitor.data / "notes.txt")
    session = monitor.client.rescan(path=str(monitor.data)).session
    assert session["success"]
    data = session["data"]
    assert (data["found"], data["known"], data["announced"], data["skipped"]) == (6, 1, 4, 1)
    monitor.wait_for_files([known, *lost])
    action = f"{str(ACTION_TS)[:5]}/{PUB_ID}/{ACTION_TS - 7}_take_iv"
    now = str(lost[3].stat().st_mtime)[:5]
    assert {row["local_path"]: row["remote_path"] for row in rows(monitor.db)[1:]} == {
        str(lost[0]): f"{action}/outputs/{lost[0].name}",
        str(lost[1]): f"{action}/plots/{lost[1].name}",
        str(lost[2]): f"17900/crate1slot3/{lost[2].name}",
        str(lost[3]): f"{now}/crate1slot4/{ACTION_TS}_rescan/outputs/alone.txt",
    }
    again = monitor.client.rescan(path=str(monitor.data)).session["data"]
    assert (again["known"], again["announced"]) == (5, 0)


def test_a_file_that_is_being_written_is_left_out(monitor):
    path = monitor.data / "17900" / "crate1slot3" / f"{ACTION_TS}_001.g3"
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        file.write("so far")
        file.flush()
        data = monitor.client.rescan(path=str(monitor.data)).session["data"]
        assert (data["being_written"], data["announced"]) == (1, 0)
    monitor.client.rescan(path=str(monitor.data))
    monitor.wait_for_files([path])


def test_a_folder_outside_is_not_looked_through(monitor):
    impossible = str(monitor.data / ("x" * 5000))
    for path in (
        "/etc",
        str(monitor.folder),
        str(monitor.data / "nowhere"),
        str(monitor.data / ".." / "db"),
        impossible,
    ):
        session = monitor.client.rescan(path=path).session
        assert not session["success"]
        assert session["messages"][-2][1].count("\n") == 0
    assert entered(monitor.db) == 0


def test_files_that_were_changed_before_are_left_out(monitor):
    old, new = (make_file(monitor.data / "17900" / "s" / f"{name}.g3") for name in ("old", "new"))
    os.utime(old, (1000, 1000))
    assert monitor.client.rescan(path=str(monitor.data), since=2000).session["success"]
    monitor.wait_for_files([new])
