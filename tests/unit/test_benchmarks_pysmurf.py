"""The pysmurf benchmark announces what it says, and counts what is there."""

import importlib.util
import json
import socket
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.bench import PROGRAMS
from benchmarks.pysmurf_monitor import Growth, asked, common, free_udp_port, newest, sockets, udp_sockets
from benchmarks.sides import BenchmarkError, published_socs
from ocs.agents.pysmurf_monitor.suprsync import SupRsyncFilesManager

TABLE = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1552: 00000000:2008 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 29165 2 00000000f0b8 17
 1553: 0100007F:2009 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 29166 2 00000000f0b9 4
"""


@pytest.fixture(scope="module")
def program():
    """The publisher, as a module."""
    spec = importlib.util.spec_from_file_location("pysmurf_publisher", PROGRAMS / "pysmurf_publisher.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def inbox():
    """A socket that has room for everything a test sends."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        yield receiver


def taken(inbox):
    """All that waits in a socket."""
    found = []
    while True:
        try:
            found.append(inbox.recv(65536))
        except BlockingIOError:
            return found


@pytest.mark.parametrize(("way", "number"), [("send", 5000), ("send_as_taken", 65536)])
def test_every_datagram_leaves_once_and_in_order(program, inbox, way, number):
    announcer = program.Announcer(inbox.getsockname()[1])
    sent = getattr(announcer, way)([b"%d" % each for each in range(60)], number)
    assert taken(inbox) == [b"%d" % each for each in range(60)]
    assert sent["sent"] == 60
    announcer.socket.close()


def test_nothing_is_passed_on_while_there_is_no_room(program, inbox):
    announcer = program.Announcer(inbox.getsockname()[1])
    looks = iter([2000, 1500, 10])
    announcer.waiting = looks.__next__
    announcer.send_as_taken([b"datagram"], 1000)
    assert list(looks) == []
    assert taken(inbox) == [b"datagram"]
    announcer.socket.close()


def test_what_waits_on_the_other_side_is_seen(program, inbox):
    announcer = program.Announcer(inbox.getsockname()[1])
    assert announcer.waiting() == 0
    announcer.pass_on([b"x" * 1000])
    assert announcer.waiting() >= 1000
    announcer.socket.close()


def test_files_that_are_made_are_those_announced_and_all_differ(program, tmp_path):
    assert program.answer(tmp_path, None, "make", "3", "100") == {"made": 3}
    paths = [Path(json.loads(program.announcement(tmp_path, number))["payload"]["path"]) for number in range(3)]
    assert {path.stat().st_size for path in paths} == {100}
    assert len({path.read_bytes() for path in paths}) == 3


def test_files_that_are_there_are_made_no_second_time(program, tmp_path):
    program.make(tmp_path, 1, 100)
    program.make(tmp_path, 2, 50)
    assert [Path(program.path_of(tmp_path, number)).stat().st_size for number in range(2)] == [100, 50]


def test_drops_are_those_of_the_port():
    assert (udp_sockets(TABLE, 0x2008), udp_sockets(TABLE, 0x2009), udp_sockets(TABLE, 0x200A)) == ([17], [4], [])


def test_a_socket_is_seen_as_soon_as_it_is_bound(inbox):
    assert sockets(inbox.getsockname()[1]) == [0]
    assert sockets(free_udp_port()) == []


def test_growth_knows_how_many_there_were_at_a_moment():
    growth = Growth("nowhere")
    began = growth.last
    for second, rows in ((1, 10), (2, 10), (3, 25)):
        growth.note(began + second, rows)
    assert (growth.rows, growth.last) == (25, began + 3)
    assert [growth.at(began + second) for second in (-1, 0.5, 1, 2.9, 3)] == [0, 0, 10, 10, 25]


def test_rows_are_counted_and_none_before_there_is_a_table(tmp_path):
    database = tmp_path / "suprsync.db"
    assert newest(database) == 0
    manager = SupRsyncFilesManager(str(database))
    for number in range(2):
        manager.create_file(f"/data/{number}", f"{number}", "smurf", local_md5sum="0")
    assert newest(database) == 2
    assert asked(database, "SELECT local_path FROM supersync_v0 ORDER BY id") == [("/data/0",), ("/data/1",)]


def found(**more):
    growth = Growth("nowhere")
    growth.note(12.0, 8)
    return {"sent": 10, "began": 10.0, "growth": growth, "cpu": 0.004, "peak": 1.0, "dropped": 2, **more}


def test_files_that_are_missing_or_there_twice_count_apart():
    figures = common(found(entered=[11.0] * 7, rows=8))
    assert (figures["lost"], figures["twice"]) == (3, 1)
    assert figures["rate"] == pytest.approx(3.5)
    assert figures["cpu"] == pytest.approx(1000 * 4 / 7)


def test_a_monitor_that_enters_nothing_has_no_figures():
    with pytest.raises(BenchmarkError, match="none was entered"):
        common(found(entered=[], rows=0))


def test_where_there_is_no_published_socs_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("OCS_PEERS", str(tmp_path))
    with pytest.raises(BenchmarkError, match="make peers"):
        published_socs()
