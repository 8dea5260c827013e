"""The pysmurf monitor is killed, again and again: what was received is entered, once."""

import random
import threading
import time

import pytest

from tests.harness.processes import living
from tests.harness.pysmurf import announce, each_once, entered, file_datagram, free_udp_port, is_bound, make_files
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(400)]

KILLS = 20
RATE = 300.0
CHUNK = 5
LIMIT = 90.0


class Publisher:
    """Announces files in a thread of its own, and remembers which have been received for certain.

    A datagram has been received when somebody had the port before it was sent and afterwards: the sending puts it into
    the receiver's buffer, and the receiver empties that before it gives up the port.
    """

    def __init__(self, port, files):
        self.received = []
        self._port = port
        self._files = files
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._ending.set()
        self._thread.join()

    @property
    def is_done(self):
        return not self._thread.is_alive()

    def _run(self):
        for begin in range(0, len(self._files), CHUNK):
            if self._ending.wait(CHUNK / RATE):
                return
            chunk = self._files[begin : begin + CHUNK]
            before = is_bound(self._port)
            announce(self._port, *map(file_datagram, chunk))
            if before and is_bound(self._port):
                self.received += chunk


@pytest.fixture
def place(site, tmp_path):
    port, db_path, data = free_udp_port(), tmp_path / "suprsync.db", tmp_path / "data"
    site.add_instance(
        "PysmurfMonitor",
        "pysmurf-monitor",
        ["--udp-port", port, "--bind", "127.0.0.1", "--db-path", str(db_path), "--allow-root", str(data)],
    )
    return port, db_path, data


def test_what_was_received_is_entered_once_however_often_the_agent_is_killed(place, run_agent):
    port, db_path, data = place
    luck = random.Random(5)
    files = make_files(data / "20260102" / "crate1slot2" / "1790000000" / "outputs", 20_000)
    with Publisher(port, files) as publisher:
        for _ in range(KILLS):
            agent = run_agent("pysmurf-monitor", wait=False)
            wait_for(lambda: is_bound(port), LIMIT)
            time.sleep(luck.uniform(0.0, 2.0))  # the moment of the kill is what is left to chance
            agent.kill_alone()
            wait_for(lambda: not is_bound(port), LIMIT)
    received = list(publisher.received)
    assert len(received) > KILLS * RATE / 10
    agent = run_agent("pysmurf-monitor")
    wait_for(lambda: entered(db_path) >= len(received), LIMIT)
    wait_for(lambda: agent.client.run.status().session["data"].get("files_queued") == 0, LIMIT)
    wrong = each_once(db_path, received)
    assert "lacks" not in wrong
    assert "twice" not in wrong
    assert agent.client.rescan(path=str(data)).session["success"]
    wait_for(lambda: entered(db_path) >= len(files), LIMIT)
    assert each_once(db_path, files) == ""


def test_a_receiver_that_is_killed_is_replaced_and_what_it_wrote_is_entered(place, run_agent):
    port, db_path, data = place
    files = make_files(data, 200)
    agent = run_agent("pysmurf-monitor")
    wait_for(lambda: is_bound(port), LIMIT)
    announce(port, *map(file_datagram, files[:100]))
    wait_for(lambda: entered(db_path) == 100, LIMIT)
    [receiver] = agent_children(agent)
    receiver.kill()
    wait_for(lambda: receiver.pid not in [child.pid for child in agent_children(agent)], LIMIT)
    wait_for(lambda: is_bound(port), LIMIT)
    announce(port, *map(file_datagram, files[100:]))
    wait_for(lambda: entered(db_path) == 200, LIMIT)
    assert each_once(db_path, files) == ""
    wait_for(lambda: agent.client.run.status().session["data"]["receiver"]["restarts"] == 1, LIMIT)


def agent_children(agent):
    import psutil

    return living(psutil.Process(agent.process.pid).children(recursive=True))
