"""The same announcements to the published monitor and to ours: the same rows.

What differs, on purpose:

- Ours enters a file once, however often and in whatever way (``//``, ``/./``) its path is announced.
- ``iv``, ``channel_assignment`` and ``tune`` in its path keep a timestream too from being deleted; the published
  monitor looks for them in the archive ``smurf`` alone.
- A publisher's id or an action that is more than a name, and digits of other scripts as the folder of a day: the
  published monitor takes them as they are.
"""

import json
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest

from ocs.agents.pysmurf_monitor.hashing import Hashers, Item
from ocs.agents.pysmurf_monitor.messages import RefusedError, parse
from ocs.agents.pysmurf_monitor.registrar import Registrar
from ocs.agents.pysmurf_monitor.roots import Roots
from ocs.agents.pysmurf_monitor.state import State
from tests.harness.peers import run

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).parent / "scripts" / "pysmurf_rows.py"
COLUMNS = "local_path, local_md5sum, archive_name, remote_path, deletable"
TIMESTREAM = {"archive_name": "timestreams", "format": "g3"}

SAME = [
    ("20261123/crate1slot2/1795392000/outputs/1795392001_x.txt", {}),
    ("20261123/crate1slot2/1795392000/plots/1795392001_x.png", {"plot": True, "format": "png"}),
    ("20261123/plain.npy", {"format": "npy"}),
    ("20261123/bare", {"format": "npy"}),
    ("20261123/bare.dat", {"format": "npy"}),
    ("20261123/shouting", {"format": "NPY"}),
    ("20261123/no-format", {"format": None}),
    ("20261123/integer-time", {"timestamp": 1795392002}),
    ("20261123/begun", {"action_ts": 1795392000.25}),
    ("20261123/begun-text", {"action_ts": "1795392000"}),
    ("20261123/no-action", {"action": None, "action_ts": None}),
    ("20261123/no-day-later", {"action_ts": 1699999999}),
    ("20261123/with space.txt", {}),
    ("20261123/größe.txt", {}),
    ("20261123/named-archive", {"archive_name": "smurf"}),
    ("not-a-day.txt", {}),
    ("calibration/20261123/x.txt", {}),
    ("20261123a/x.txt", {}),
    ("20261123/take_iv/x.txt", {}),
    ("20261123/o/1795392000_tune.txt", {}),
    ("20261123/o/TUNE.txt", {}),
    ("20261123/o/channel_assignment_b0.txt", {}),
    ("20261123/private.txt", {}),
    ("17953/crate1slot2/1795392000_000.g3", TIMESTREAM),
    ("calibration/1795392000_001.g3", TIMESTREAM),
    ("1795392000_002.g3", TIMESTREAM),
]
"""What is announced: the file, below a folder of files for each day, and what is said of it."""

ANOTHER = [
    ("20261123/once", {}, 1),
    ("20261123/once", {"action": "again"}, 1),
    ("20261123//once", {}, 1),
    ("17953/iv/1795392000_000.g3", TIMESTREAM, 1),
]
"""The same, and how many rows of the published monitor it makes."""

NOBODYS = [
    ("20261123/a", {"archive_name": "other"}),
    ("20261123/b", {"archive_name": None}),
    ("20261123/nothing-there", {}),
    ("20261123", {}),
]
"""What neither enters."""


def datagram(path, changes, pub_id="crate1slot2", kind="data_file"):
    payload = {
        "path": path, "type": "x", "format": "txt", "timestamp": 1795392002.5, "action": "take_noise",
        "action_ts": 1795392000, "plot": False, **changes,
    }  # fmt: skip
    return json.dumps({"id": pub_id, "time": 1795392003.5, "type": kind, "payload": payload})


@pytest.fixture
def folder():
    """A folder whose files have the folder of the day as the third of their path, as in /data/smurf_data/20261123."""
    made = Path(tempfile.mkdtemp(prefix="smurf_data", dir="/tmp"))  # the depth is what matters
    yield made
    shutil.rmtree(made)


@pytest.fixture
def ours(folder):
    """Enter by our own parts: `ours(datagrams)` -> rows."""

    def enter(datagrams):
        items = [Item(found) for found in map(parsed, datagrams) if found]
        db_path, state = folder / "ours.db", State(folder / "state.sqlite")
        registrar = Registrar(db_path, state)
        registrar.enter([item for item in hashed(items) if item.md5])
        registrar.close()
        state.close()
        with sqlite3.connect(db_path) as link:
            return link.execute(f"SELECT {COLUMNS} FROM supersync_v0").fetchall()

    return enter


def parsed(text):
    try:
        return parse(text.encode())
    except RefusedError:
        return None


def hashed(items):
    done, all_done = [], threading.Event()

    def take(batch):
        done.extend(batch)
        if len(done) == len(items):
            all_done.set()

    hashers = Hashers(Roots(None), on_done=take)
    hashers.put(items)
    assert all_done.wait(60)
    hashers.stop(10)
    return items


@pytest.fixture
def published(folder, socs_python):
    """Have the published monitor enter: `published(datagrams)` -> rows."""

    def enter(datagrams):
        sent = "".join(f"{each}\n" for each in datagrams)
        told = run(socs_python, str(SCRIPT), str(folder / "published.db"), input=sent)
        return [tuple(row) for row in json.loads(told.rpartition("\n")[2])]

    return enter


def write(folder, name, changes):
    path = folder / name
    if changes.get("format") == "npy" and path.suffix != ".npy":
        path = path.with_name(f"{path.name}.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"contents of {name}")


def test_both_enter_the_same_rows(folder, ours, published):
    for name, changes in SAME:
        write(folder, name, changes)
    datagrams = [datagram(f"{folder}/{name}", changes) for name, changes in SAME]
    found, expected = ours(datagrams), published(datagrams)
    assert len(expected) == len(SAME)
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("kind", ["data_file", "g3_file"])
def test_an_id_with_a_prefix_stays_as_it_is(folder, ours, published, kind):
    write(folder, "20261123/x", {})
    datagrams = [datagram(f"{folder}/20261123/x", {}, "STREAMER:crate1slot2", kind)]
    assert ours(datagrams) == published(datagrams)


def test_what_differs_on_purpose(folder, ours, published):
    for name, changes, _ in ANOTHER:
        write(folder, name, changes)
    datagrams = [datagram(f"{folder}/{name}", changes) for name, changes, _ in ANOTHER]
    found, theirs = ours(datagrams), published(datagrams)
    assert len(theirs) == sum(rows for *_, rows in ANOTHER)
    assert [Path(row[0]).name for row in found] == ["once", "1795392000_000.g3"]
    assert [row[4] for row in theirs if row[2] == "timestreams"] == [1]
    assert [row[4] for row in found if row[2] == "timestreams"] == [0]


def test_what_neither_enters(folder, ours, published):
    for name, changes in [("20261123/a", {}), ("20261123/b", {})]:
        write(folder, name, changes)
    good = datagram(f"{folder}/20261123/a", {})  # the published monitor waits for one
    datagrams = [datagram(f"{folder}/{name}", changes) for name, changes in NOBODYS]
    assert [row[0] for row in ours([*datagrams, good])] == [f"{folder}/20261123/a"]
    assert [row[0] for row in published([*datagrams, good])] == [f"{folder}/20261123/a"]
