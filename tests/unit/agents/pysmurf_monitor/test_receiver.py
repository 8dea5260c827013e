"""The receiver as it is run: a process with a real socket, a journal, orders and reports."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from ocs.agents.pysmurf_monitor.receiver import Receiver
from ocs.agents.pysmurf_monitor.receiver_keeping import Keeper
from ocs.agents.pysmurf_monitor.receiver_socket import open_socket
from ocs.errors import ReceiverError
from ocs.journal import Journal
from tests.harness.pysmurf import announce, is_bound
from tests.harness.receiver_program import ReceiverProgram, arrivals, numbered, texts
from tests.harness.waiting import wait_for

MODULE = "ocs.agents.pysmurf_monitor.receiver"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def make_receiver(folder):
    made = []

    def make(*options, **keywords):
        made.append(ReceiverProgram(folder, *options, **keywords))
        return made[-1]

    yield make
    for receiver in made:
        receiver.kill()


@pytest.fixture
def receiver(make_receiver):
    return make_receiver()


def run(*options):
    command = [sys.executable, "-m", MODULE, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def test_datagrams_are_in_the_journal_in_order_with_sender_and_time(receiver, folder):
    before = time.time()
    announce(receiver.port, *numbered(0, 100))
    receiver.has(received=100, written=100)
    found = arrivals(folder)
    assert [index for index, _ in found] == list(range(100))
    assert [arrival.data for _, arrival in found] == numbered(0, 100)
    assert {arrival.host for _, arrival in found} == {"127.0.0.1"}
    assert len({arrival.port for _, arrival in found}) == 1
    assert all(before <= arrival.time <= time.time() for _, arrival in found)


@pytest.mark.parametrize("size", [0, 1, 1500, 9000, 65507])
def test_a_datagram_of_any_size_comes_whole(receiver, folder, size):
    announce(receiver.port, sent := os.urandom(size))
    receiver.has(written=1)
    assert texts(folder) == [sent]


def test_the_end_of_its_input_ends_it_with_all_that_is_in_the_socket(receiver, folder):
    port = receiver.port
    receiver.process.send_signal(signal.SIGSTOP)
    announce(port, *numbered(0, 2000, size=50))
    receiver.process.stdin.close()
    receiver.process.send_signal(signal.SIGCONT)
    assert receiver.wait() == ""
    assert receiver.process.returncode == 0
    assert receiver.last["written"] == receiver.last["received"] == 2000 - receiver.last["kernel_drops"]
    assert texts(folder) == numbered(0, 2000, size=50)[: receiver.last["received"]]
    assert not is_bound(port)


def test_sigterm_ends_it_like_the_end_of_its_input(receiver, folder):
    port = receiver.port
    receiver.process.send_signal(signal.SIGSTOP)
    announce(port, *numbered(0, 50))
    receiver.process.send_signal(signal.SIGTERM)
    receiver.process.send_signal(signal.SIGCONT)
    assert receiver.wait() == ""
    assert receiver.process.returncode == 0
    assert texts(folder) == numbered(0, 50)


def test_ctrl_c_is_for_the_agent_which_ends_it_when_it_is_done(receiver, folder):
    port = receiver.port
    receiver.process.send_signal(signal.SIGINT)
    announce(port, b"after")
    receiver.has(written=1)
    receiver.finish()
    assert texts(folder) == [b"after"]


def test_it_is_in_no_process_group_of_others(receiver):
    assert receiver.port
    assert os.getpgid(receiver.process.pid) == receiver.process.pid


def test_orders_let_go_of_what_is_below_and_other_lines_change_nothing(make_receiver, folder):
    receiver = make_receiver("--journal-bytes", str(1 << 20))
    for begin in range(0, 400, 50):
        announce(receiver.port, *numbered(begin, begin + 50, size=1000))
        receiver.has(received=begin + 50)
    before = len(list(folder.glob("*.journal")))
    assert before > 2
    receiver.order("nonsense\ndrop\ndrop x\ndrop -5\n\ndrop " + "9" * 30 + "\ndr")
    receiver.order("op 100\ndrop 350\ndrop 20\n")
    wait_for(lambda: len(list(folder.glob("*.journal"))) < before)
    assert texts(folder, 350) == numbered(350, 400, size=1000)
    receiver.finish()
    assert receiver.process.returncode == 0


def test_numbers_are_counted_on_after_a_restart_and_over_a_later_start(make_receiver, folder):
    first = make_receiver()
    announce(first.port, *numbered(0, 3))
    first.has(written=3)
    first.finish()
    second = make_receiver()
    announce(second.port, b"four")
    second.has(written=4)
    second.finish()
    third = make_receiver("--first-index", "10")
    announce(third.port, b"ten")
    third.has(written=11)
    third.finish()
    assert [index for index, _ in arrivals(folder, 2)] == [2, 3, 10]


def test_what_is_dropped_at_the_bound_is_counted_and_told(make_receiver, folder):
    receiver = make_receiver("--journal-bytes", str(1 << 19))
    for begin in range(0, 1000, 100):
        announce(receiver.port, *numbered(begin, begin + 100, size=1000))
        receiver.reports_that(lambda report: report["received"] == begin + 100)  # noqa: B023  waited for at once
    last = receiver.reports_that(lambda report: report["received"] == 1000 == report["written"] + report["dropped"])
    assert last["dropped"] > 0
    assert "is full" in last["trouble"]
    assert texts(folder) == numbered(0, last["written"], size=1000)
    receiver.order(f"drop {last['written']}\n")
    receiver.reports_that(lambda report: report["dropped"] == last["dropped"] and not report["trouble"])


def test_the_kernels_drops_are_told(make_receiver):
    receiver = make_receiver("--socket-bytes", "8192")
    port = receiver.port
    receiver.process.send_signal(signal.SIGSTOP)
    announce(port, *numbered(0, 500, size=500))
    receiver.process.send_signal(signal.SIGCONT)
    receiver.reports_that(lambda report: report["received"] + report["kernel_drops"] == 500 > report["received"])


def test_reports_that_nobody_reads_hold_nothing_up(folder):
    """An agent whose reactor is held up for a minute is no reason to lose a datagram."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with closing(open_socket("127.0.0.1", 0, 1 << 20)) as listening:
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", MODULE, "--directory", str(folder), "--socket-fd", str(listening.fileno())]
        while True:  # the pipe is full from the beginning
            try:
                os.write(write, bytes(4096))
            except BlockingIOError:
                break
        os.set_blocking(write, True)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=write, pass_fds=[listening.fileno()])
    os.close(write)
    announce(port, *numbered(0, 200))
    wait_for(lambda: len(texts(folder)) == 200)
    process.stdin.close()
    assert process.wait(30) == 0
    os.close(read)


def test_a_socket_that_is_handed_over_is_used_and_outlives_a_receiver(make_receiver, folder):
    with closing(open_socket("127.0.0.1", 0, 1 << 20)) as held:
        port = held.getsockname()[1]
        first = make_receiver(fd=held.fileno())
        assert first.port == port
        announce(port, b"one")
        first.has(written=1)
        first.kill()
        announce(port, b"two", b"three")
        second = make_receiver(fd=held.fileno())
        second.has(written=3)
    assert texts(folder) == [b"one", b"two", b"three"]


def test_it_waits_for_a_predecessor_that_is_just_finishing(make_receiver, folder):
    with Journal(folder) as predecessor:
        receiver = make_receiver()
        announce(receiver.port, b"new")
        receiver.has(received=1, written=0)
        predecessor.append(0, 0, b"old")
    receiver.has(written=2)
    assert receiver.last["trouble"] == ""


def test_ipv6(folder):
    with closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sender:
        command = ("--bind", "::", "--port", "0")
        with ReceiverProgram(folder, *command) as receiver:
            sender.sendto(b"six", ("::1", receiver.port))
            receiver.has(written=1)
            announce(receiver.port, b"four")
            receiver.has(written=2)
    assert [(arrival.host, arrival.data) for _, arrival in arrivals(folder)] == [
        ("::1", b"six"),
        ("127.0.0.1", b"four"),
    ]


def test_a_port_in_use_is_one_line_and_no_success(receiver, tmp_path):
    done = run("--bind", "127.0.0.1", "--port", str(receiver.port), "--directory", str(tmp_path / "other"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"UDP port {receiver.port}" in line
    assert not (tmp_path / "other").exists()


def test_what_is_lost_in_the_end_is_told(make_receiver, folder):
    with Journal(folder):
        receiver = make_receiver("--finish-patience", "0.2")
        announce(receiver.port, *numbered(0, 3))
        receiver.has(received=3)
        assert "3 datagrams are lost" in receiver.finish()
    assert receiver.process.returncode == 1


def test_a_small_buffer_is_warned_of_in_one_line(make_receiver):
    receiver = make_receiver("--socket-bytes", str(64 << 20))
    given = receiver.reports_that(lambda report: report["port"] > 0)["buffer_bytes"]
    complaints = receiver.finish().splitlines()
    assert len(complaints) == (0 if given >= 16 << 20 else 1)


def test_it_ends_if_it_can_keep_nothing_any_more(folder):
    """Whoever started it starts another."""
    keeper_that_has_died = Keeper(folder, 1 << 30)
    woken, _waking = os.pipe()
    orders, _giving = os.pipe()
    _reading, reports = os.pipe()
    with closing(open_socket("127.0.0.1", 0, 1 << 16)) as listening:
        announce(listening.getsockname()[1], b"one")
        with pytest.raises(ReceiverError, match="has died"):
            Receiver(listening, keeper_that_has_died, orders, reports).run(woken)
    for descriptor in (woken, _waking, orders, _giving, _reading, reports):
        os.close(descriptor)


def test_help_tells_what_it_is_for():
    done = run("--help")
    assert done.returncode == 0
    assert "PysmurfMonitor" in done.stdout


def test_it_loads_nothing_heavy():
    script = f"import sys, {MODULE}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"twisted", "numpy", "sqlalchemy", "yaml", "autobahn", "asyncio", "dataclasses", "subprocess"}
    assert heavy.isdisjoint(loaded)


def test_it_takes_little_memory(receiver):
    assert receiver.port
    status = Path(f"/proc/{receiver.process.pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0])
    assert resident < 25 * 1024  # KiB
