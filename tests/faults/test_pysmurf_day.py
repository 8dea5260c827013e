"""A day of a SMuRF server, with its monitor killed and restarted in the middle: every file is entered exactly once."""

import contextlib
import subprocess
import sys
import threading

import pytest

from ocs.agents.pysmurf_monitor.simulation import Plan, day
from ocs.agents.pysmurf_monitor.simulator import Publisher, Sender
from tests.harness.peers import ROOT
from tests.harness.pysmurf import HOST, each_once, entered, free_udp_port, is_bound
from tests.harness.suprsync import OTHERS, lock_errors, marking
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(240)]

START = 1_790_000_000.0
STREAMS = ("crate1slot2", "crate1slot3", "crate1slot4")
SPEED = 86_400 / 20.0
PATIENCE = 60.0


class Day:
    """A day that is published in the background."""

    def __init__(self, folder, port):
        plan = Plan(str(folder), START, STREAMS, size=300, metadata_rate=0.02)
        self.messages = day(plan)
        self.paths = [message.file for message in self.messages if message.file]
        self._sender = Sender(HOST, port)
        self._publisher = Publisher(plan, self._sender, speed=SPEED)
        self._thread = threading.Thread(target=self._publisher.publish, args=(self.messages,))

    @contextlib.contextmanager
    def going_by(self):
        self._thread.start()
        try:
            yield
        finally:
            self._thread.join()
            self._sender.close()

    def wait_until(self, share):
        wait_for(lambda: self._publisher.tally.files >= share * len(self.paths), PATIENCE)


@pytest.fixture
def world(tmp_path, site, run_agent):
    class World:
        port, data, db_path = free_udp_port(), tmp_path / "data", tmp_path / "suprsync.db"

        def monitor(self):
            self.data.mkdir(exist_ok=True)
            site.add_instance("PysmurfMonitor", "monitor", ["--udp-port", self.port, "--db-path", str(self.db_path)])
            handle = run_agent("monitor", "--allow-root", str(self.data), timeout=PATIENCE)
            wait_for(lambda: is_bound(self.port), PATIENCE)
            return handle

    return World()


def data_of(monitor):
    return monitor.call(".ops", "status", "run")[2]["data"]


def test_a_day_with_a_crash_and_a_restart_and_a_second_writer(world):
    monitors = [world.monitor()]
    whole = Day(world.data, world.port)

    with marking(world.db_path, "--remove") as finish, whole.going_by():
        whole.wait_until(0.3)
        monitors[-1].kill()  # and its receiver
        monitors.append(world.monitor())
        whole.wait_until(0.5)
        monitors[-1].kill_alone()
        monitors.append(world.monitor())
        whole.wait_until(0.7)
        monitors[-1].stop(timeout=30)
        monitors.append(world.monitor())
        whole.wait_until(1.0)
        # What was announced while nobody listened is found in the folders.
        for _ in range(2):
            done = monitors[-1].client.rescan(path=str(world.data))
            assert done.session["success"], done
        wait_for(lambda: entered(world.db_path, besides=OTHERS) >= len(whole.paths), PATIENCE)
        marked = finish()

    assert each_once(world.db_path, whole.paths, besides=OTHERS) == ""
    # What was announced again to the next one, of the last second before a crash, is known though the files are gone.
    wait_for(lambda: data_of(monitors[-1])["files_pending"] == 0, PATIENCE)
    assert (marked.wrong, marked.locks) == ([], [])
    assert [line for monitor in monitors for line in lock_errors(monitor.output)] == []


def test_nothing_of_a_quiet_day_needs_a_rescan(world):
    monitor = world.monitor()
    whole = Day(world.data, world.port)

    with whole.going_by():
        whole.wait_until(1.0)
    wait_for(lambda: entered(world.db_path) >= len(whole.paths), PATIENCE)

    assert each_once(world.db_path, whole.paths) == ""
    told = wait_for(lambda: counted_all(data_of(monitor), whole), PATIENCE)  # the session's data are a little behind
    assert (told["datagrams_refused_total"], told["datagrams_dropped_total"], told["files_pending"]) == (0, 0, 0)


def counted_all(told, whole):
    wanted = {
        "datagrams_received_total": len(whole.messages),
        "files_announced_total": len(whole.paths),
        "files_entered_total": len(whole.paths),
    }
    return told if {name: told[name] for name in wanted} == wanted else None


def test_a_soak_of_some_seconds_balances(tmp_path):
    words = ["--minutes", "0.1", "--rate", "500", "--every", "1", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.harness.pysmurf_soak", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "3,000 files announced" in done.stdout
    assert "every file exactly once, no lock error" in done.stdout
