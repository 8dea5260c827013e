"""The fixtures for agent authors, used as an agent author would: in a suite of its own."""

import http.server
import os
import subprocess
import sys
import threading

import pytest

from ocs.errors import RouterError
from ocs.router.ports import free_port
from ocs.testing import check_crossbar_connection

pytestmark = pytest.mark.slow

AGENT = """
import os, sys, time
print("arguments", sys.argv[1:], "folder", os.environ["OCS_CONFIG_DIR"], flush=True)
try:
    {body}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

SUITE = """
from pathlib import Path
from ocs.testing import create_agent_runner_fixture

run_agent = create_agent_runner_fixture("agent.py", "stub", args=["--more", "1"], {options})

def test_agent(run_agent):
    while not Path("started").exists() and run_agent.poll() is None: pass
    {test}
"""


@pytest.fixture
def suite(tmp_path):
    """Run a suite of one test with an agent; returns (exit code, output)."""

    def run(*, body="Path('started').touch(); time.sleep(60)", test="", options=""):
        agent = "from pathlib import Path\n" + AGENT.format(body=body)
        (tmp_path / "agent.py").write_text(agent)
        (tmp_path / "test_suite.py").write_text(SUITE.format(options=options, test=test or "pass"))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    return run


def test_the_agent_runs_with_the_site_of_the_folder_and_is_interrupted_at_the_end(suite, tmp_path):
    code, output = suite(test="assert 0")
    assert code == 1
    assert f"['--site-file', './default.yaml', '--more', '1'] folder {tmp_path}" in output
    assert "interrupted" in output
    assert "ended with exit code 0" in output


def test_output_is_shown_only_where_a_test_failed(suite):
    code, output = suite()
    assert code == 0
    assert "interrupted" not in output


def test_what_the_agent_executes_is_counted(suite, tmp_path):
    suite()
    assert list(tmp_path.glob(".coverage.*"))


def test_an_agent_that_hangs_is_interrupted_after_the_timeout(suite):
    code, output = suite(test="run_agent.wait(20); assert 0", options="timeout=0.5")
    assert code == 1
    assert "ended by itself during the test" in output


def test_an_agent_can_be_killed_at_the_end(suite):
    code, output = suite(test="assert 0", options="kill_to_exit=True")
    assert code == 1
    assert "ended with exit code -9" in output


def test_an_agent_that_dies_shows_its_code(suite):
    code, output = suite(body="sys.exit(7)", test="run_agent.wait(20); assert 0")
    assert code == 1
    assert "exit code 7" in output


class _Info(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/info" else 404)
        self.end_headers()

    def log_message(self, *args):
        """Keep quiet."""


@pytest.fixture
def info_page():
    server = http.server.HTTPServer(("127.0.0.1", 0), _Info)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_router_that_answers_is_found_at_once(info_page):
    check_crossbar_connection(port=info_page, interval=60, max_attempts=1)


def test_a_router_that_never_answers_is_an_error_that_names_the_page():
    port = free_port()
    with pytest.raises(RouterError, match=f":{port}/info after 3 attempts"):
        check_crossbar_connection(port=port, interval=0.01, max_attempts=3)
