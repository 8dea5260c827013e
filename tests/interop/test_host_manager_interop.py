"""The published operator's program and clients, with our host manager."""

import subprocess
from pathlib import Path

import pytest

from tests.harness.managing import LIMIT, Managed, end_all
from tests.harness.peers import answers

pytestmark = [pytest.mark.interop, pytest.mark.slow]

UPDATE = """\
import json
from ocs.ocs_client import OCSClient
client = OCSClient("hm-1", args={args!r})
reply = client.update(requests=[("fake-1", "down")])
status = client.manager.status()
print(json.dumps([int(reply[0]), reply[2]["success"], int(status[0]), sorted(status[2]["data"])]))
"""


@pytest.fixture
def managed(site, run_agent):
    site.add_instance("HostManager", "hm-1")
    site.add_instance("FakeDataAgent", "fake-1", ["--mode", "acq"])
    site.add_instance("FakeDataAgent", "fake-2", manage="host/down")
    running = Managed(run_agent("hm-1"))
    running.wait_ready("fake-1")
    yield running
    end_all(site.directory)


@pytest.fixture
def bow(site, published_python):
    """Run the published ocsbow, and return what it printed."""

    def run(*words):
        command = [str(Path(published_python).parent / "ocsbow"), *site.args, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=site.directory)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def row(table, instance_id):
    return next(line.split() for line in table.splitlines() if instance_id in line.split())


def test_ocsbow_shows_and_sets_what_our_manager_manages(managed, bow):
    table = bow("status")
    assert row(table, "fake-1")[1:] == ["FakeDataAgent", "up", "up"]
    assert row(table, "fake-2")[1:] == ["FakeDataAgent", "down", "down"]
    bow("down", "fake-1")
    managed.wait_action("fake-1", "down")
    assert row(bow("status"), "fake-1")[2:] == ["down", "down"]
    bow("up", "--all")
    managed.wait_ready("fake-1", "fake-2")
    assert row(bow("status"), "fake-2")[2:] == ["up", "up"]


def test_ocsbow_has_the_site_config_file_read_again(managed, bow, site):
    site.add_instance("FakeDataAgent", "fake-3")
    assert "fake-3" in bow("status", "--reload-config")
    managed.wait_ready("fake-3")


def test_a_published_client_sets_targets_and_sees_the_documented_data(managed, site, published_python):
    code, success, status, keys = answers(published_python, "-c", UPDATE.format(args=site.args))
    assert (code, success, status) == (0, True, 0)
    assert {"child_states", "config_parse_status", "orphans", "new_tags"} <= set(keys)
    managed.wait_action("fake-1", "down")
