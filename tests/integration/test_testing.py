"""An agent author's suite, on a real router: the agent by its script, the client as soon as it answers."""

import os
import subprocess
import sys
from pathlib import Path

import ocs.agents.fake_data.agent

SUITE = """
from ocs.testing import check_crossbar_connection, create_agent_runner_fixture, create_client_fixture

run_agent = create_agent_runner_fixture({agent!r}, "fake_data", args=["--instance-id", "fake-1"])
client = create_client_fixture("fake-1")

def test_router():
    check_crossbar_connection(port={port}, interval=1, max_attempts=2)

def test_delay(run_agent, client):
    reply = client.delay_task(delay=0.01)
    assert reply.session["success"]
"""


def test_a_suite_of_an_agent_author(site, router, tmp_path):
    site.add_instance("FakeDataAgent", "fake-1")
    agent = str(Path(ocs.agents.fake_data.agent.__file__))
    (site.directory / "test_suite.py").write_text(SUITE.format(agent=agent, port=router.port))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(site.directory)]
    home = {**os.environ, "HOME": str(tmp_path / "home")}
    home.pop("XDG_STATE_HOME", None)
    done = subprocess.run(
        command, cwd=site.directory, env=home, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert not (tmp_path / "home" / ".local" / "state").exists()
    assert "2 passed" in done.stdout
