"""The commands of docs/user/closed-site.md, as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ocs.router.ports import free_port
from ocs.router.process import running_pid, stop_tree
from tests.harness.managing import end_all

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "user" / "closed-site.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SETUP, USUAL = (text for kind, text in BLOCKS if not kind)

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(tmp_path):
    """Run commands one after another in a folder with the samples, at a free port; the output of each."""
    shutil.copytree(ROOT / "site-config", tmp_path / "site-config")
    site = tmp_path / "site-config" / "closed-site" / "default.yaml"
    site.write_text(site.read_text().replace(":8001/", f":{free_port()}/"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {
        **os.environ,
        "PATH": path,
        "OCS_STATE_DIR": str(tmp_path / "state"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def run(text):
        done = subprocess.run(
            ["bash", "-ec", text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield run
    end_all(tmp_path)
    pid = running_pid(tmp_path / ".crossbar")
    if pid is not None:
        stop_tree(pid)


def test_five_commands_close_a_site_and_the_usual_ones_work_there(shell):
    assert len(SETUP.splitlines()) == 5
    told = shell(SETUP)
    promised = next(text for kind, text in BLOCKS if kind == "text").replace(":8001/", ":*/").splitlines()
    shown = re.sub(r":\d+/", ":*/", told).splitlines()
    assert set(promised) <= set(shown)
    assert "fake-1" in shell(f"{SETUP.splitlines()[0]}\n{USUAL}")
