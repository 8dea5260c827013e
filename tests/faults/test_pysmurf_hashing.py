"""Files that are exchanged, changed or held while they are hashed: never a wrong MD5, never one from outside."""

import fcntl
import hashlib
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.reading import CHANGED, NOT_THERE, Reader
from ocs.agents.pysmurf_monitor.roots import Roots
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.faults

SECONDS = 3.0

EXCHANGE_FOLDER = """
import os, sys
data, other = sys.argv[1:]
while True:
    os.rename(f"{data}/folder", f"{data}/aside")
    os.symlink(other, f"{data}/folder")
    os.unlink(f"{data}/folder")
    os.rename(f"{data}/aside", f"{data}/folder")
"""
EXCHANGE_FILE = """
import os, sys
data, other = sys.argv[1:]
while True:
    os.symlink(f"{other}/x", f"{data}/link")
    os.rename(f"{data}/folder/x", f"{data}/kept")
    os.rename(f"{data}/link", f"{data}/folder/x")
    os.rename(f"{data}/kept", f"{data}/folder/x")
"""
WRITE = """
import sys
with open(sys.argv[1], "r+b", buffering=0) as file:
    number = 0
    while True:
        number += 1
        file.seek(0)
        for _ in range(16):
            file.write(bytes([number % 256]) * 4096)
"""


@contextmanager
def meddling(script, *arguments):
    """Have another process do something all the time."""
    with subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)]) as process:
        try:
            yield
        finally:
            assert process.poll() is None, "it has ended by itself"
            process.kill()


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def results(path, roots):
    """Read a file again and again for a while, and return what came of it."""
    reader, found, deadline = Reader(roots), [], time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        item = Item(Announcement(str(path), "crate1slot2", "smurf", "x", False, 0.0))
        reader.read(item)
        reader.close()
        found.append(item)
    return found


@pytest.fixture
def folders(tmp_path):
    """A folder of data with a file in it, and one elsewhere that has a secret under the same name."""
    data, other = tmp_path / "data", tmp_path / "other"
    (data / "folder").mkdir(parents=True)
    other.mkdir()
    (data / "folder/x").write_bytes(b"data")
    (other / "x").write_bytes(b"secret")
    return data, other


@pytest.mark.parametrize("script", [EXCHANGE_FOLDER, EXCHANGE_FILE], ids=["folder", "file"])
def test_exchanging_it_for_a_link_leads_nobody_outside(folders, script):
    data, other = folders
    with meddling(script, data, other):
        found = results(data / "folder/x", Roots([str(data)]))
    assert {item.md5 for item in found} == {"", md5(b"data")}
    assert {item.refused for item in found} == {"", "outside_roots"}
    # A link that is a file again when it is followed is trouble too, of the kind that passes.
    assert all(item.trouble in ("", NOT_THERE) or item.trouble.startswith("cannot be read") for item in found)


def test_a_file_that_is_written_all_the_time_has_changed(folders):
    data, _ = folders
    path = data / "folder/x"
    path.write_bytes(bytes(16 * 4096))
    with meddling(WRITE, path):
        wait_for(lambda: path.read_bytes()[0])
        found = results(path, Roots([str(data)]))
    assert CHANGED in {item.trouble for item in found}
    assert {item.trouble for item in found} <= {CHANGED, ""}


@contextmanager
def leased(path):
    """Hold a lease: whoever opens the file has to wait until it is given back."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # by which the system asks for it
    try:
        with path.open("r+b") as file:
            try:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            except OSError as error:
                pytest.skip(f"no leases here: {error}")
            yield
    finally:
        signal.signal(signal.SIGIO, before)


def read_elsewhere(path, script):
    """Read a file in another process, and return what came of it."""
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


READ = """
import sys
from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.reading import Reader
from ocs.agents.pysmurf_monitor.roots import Roots

item, reader = Item(Announcement(sys.argv[1], "", "", "", False, 0.0)), Reader(Roots(None))
"""


def test_a_file_that_waits_for_its_lease_is_put_off(folders):
    path = folders[0] / "folder/x"
    with leased(path):
        assert read_elsewhere(path, READ + "reader.read(item); print(item.trouble)").startswith("cannot be read: ")


@pytest.mark.parametrize("left", [0, 1])
def test_without_descriptors_a_file_is_put_off(folders, left):
    # One is enough for the folder, and not for the file in it.
    script = f"""
import os, resource
lowest = os.dup(0)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + {left}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
os.close(lowest)
reader.read(item)
print(item.trouble)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
reader.read(item)
print(item.md5)
"""
    told = read_elsewhere(folders[0] / "folder/x", READ + script).splitlines()
    assert told == ["cannot be read: Too many open files", md5(b"data")]
