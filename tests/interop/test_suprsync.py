"""The published SupRsync agent copies what our monitor has entered; published and ours take turns at one database."""

from collections import Counter

import pytest

from ocs.cli import pysmurf_simulator
from tests.harness import pysmurf
from tests.harness.agents import start_agent
from tests.harness.pysmurf import each_once, entered, is_bound, rows
from tests.harness.suprsync import (
    ARCHIVES,
    OTHERS,
    is_all_copied,
    lock_errors,
    marking,
    need_rsync,
    remote_folder,
    start_published_monitor,
    start_suprsync,
    wrongly_copied,
)
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(240)]

COUNT = 300
STARTING = 60.0
COPYING = 90.0


class World:
    """A site with a monitor, its database and the folder that the simulator writes to."""

    def __init__(self, site, folder, socs_python):
        self.site, self.folder, self.socs_python = site, folder, socs_python
        self.data, self.db_path = folder / "data", folder / "suprsync.db"
        self.handles = []

    def monitor(self, side):
        port = pysmurf.free_udp_port()
        arguments = ["--udp-port", port, "--db-path", str(self.db_path)]
        name = f"monitor-{side}"
        self.site.add_instance("PysmurfMonitor", name, arguments)
        if side == "published":
            handle = self._started(start_published_monitor(self.site, self.socs_python, name))
        else:
            handle = self._started(start_agent(self.site, name, "--allow-root", str(self.data)))
        wait_for(lambda: is_bound(port), timeout=STARTING)
        return handle, port

    def suprsyncs(self):
        need_rsync()
        return [self._started(self._suprsync(archive)) for archive in ARCHIVES]

    def _suprsync(self, archive):
        return start_suprsync(self.site, self.socs_python, self.db_path, self.folder, archive)

    def _started(self, handle):
        self.handles.append(handle)
        handle.wait_until_ready(STARTING)
        return handle

    def simulate(self, port, *arguments, count=COUNT):
        """Publish files, and return the paths of all that were ever written."""
        where = ["--port", str(port), "--data-dir", str(self.data)]
        code = pysmurf_simulator.main([*where, "--count", str(count), "--rate", "100", *arguments])
        assert code == 0
        return sorted(str(path) for path in self.data.rglob("*") if path.is_file())


@pytest.fixture
def world(site, tmp_path, socs_python):
    made = World(site, tmp_path, socs_python)
    yield made
    for handle in made.handles:
        print(f"--- output of {handle.instance_id} ---\n{handle.output[-10_000:]}")
        handle.kill()


def test_suprsync_copies_and_marks_what_our_monitor_enters(world):
    monitor, port = world.monitor("ours")
    agents = world.suprsyncs()
    paths = world.simulate(port, "--late", "0.2", "--stream-id", "crate1slot2", "--stream-id", "crate1slot3")

    wait_for(lambda: entered(world.db_path) >= COUNT and is_all_copied(world.db_path), timeout=COPYING)

    assert each_once(world.db_path, paths) == ""
    assert wrongly_copied(world.db_path, world.folder) == []
    copies = [path for archive in ARCHIVES for path in remote_folder(world.folder, archive).rglob("*")]
    assert sum(path.is_file() for path in copies) == COUNT
    assert {row["failed_copy_attempts"] for row in rows(world.db_path)} == {0}
    assert [line for agent in (monitor, *agents) for line in lock_errors(agent.output)] == []


def test_rows_of_ours_are_those_of_the_published(world):
    found = []
    for side in ("published", "ours"):
        monitor, port = world.monitor(side)
        # The same files at the same paths, in a database of each one's own.
        world.simulate(port, "--start", "1790000000", "--seed", "7", count=60)
        wait_for(lambda: entered(world.db_path) == 60, timeout=STARTING)
        monitor.kill()
        found.append(by_path(rows(world.db_path)))
        for path in world.folder.glob(f"{world.db_path.name}*"):
            path.unlink()

    assert found[1] == found[0]


def by_path(found):
    told_apart = ("id", "timestamp")
    return {row["local_path"]: {key: row[key] for key in row if key not in told_apart} for row in found}


def test_ours_takes_over_the_database_of_the_published(world):
    theirs, port = world.monitor("published")
    same = ("--start", "1790000000")
    world.simulate(port, *same, count=60)
    wait_for(lambda: entered(world.db_path) == 60, timeout=STARTING)
    theirs.kill()
    before = rows(world.db_path)

    _, port = world.monitor("ours")
    paths = world.simulate(port, *same, count=100)  # the first 60 are announced again
    wait_for(lambda: entered(world.db_path) >= 100, timeout=STARTING)

    assert each_once(world.db_path, paths) == ""
    assert rows(world.db_path)[:60] == before


def test_suprsync_and_another_writer_and_our_monitor_get_on(world):
    monitor, port = world.monitor("ours")
    agents = world.suprsyncs()
    with marking(world.db_path, "--age", "3600") as finish:  # too old for it to mark: it adds rows alone
        world.simulate(port)
        wait_for(
            lambda: entered(world.db_path, besides=OTHERS) >= COUNT and is_all_copied(world.db_path), timeout=COPYING
        )
        done = finish()

    found = Counter(row["archive_name"] for row in rows(world.db_path))
    assert found["smurf"] + found["timestreams"] == COUNT
    assert (found[OTHERS], done.locks) == (done.added, [])
    assert [line for agent in (monitor, *agents) for line in lock_errors(agent.output)] == []
