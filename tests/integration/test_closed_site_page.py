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
from tests.harness.archive import files_of, samples_in
from tests.harness.managing import end_all
from tests.harness.waiting import wait_for

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


def opened(site):
    """Make of the sample what it was before it was closed."""
    text = re.sub(r"^  keys:.*\n", "", site.read_text(), flags=re.MULTILINE)
    site.write_text(text.replace("wss:", "ws:").replace("https:", "http:"))


def closed(site):
    """Change a site file as the page says."""
    text = site.read_text().replace("hub:", "hub:\n  keys: keys")
    site.write_text(text.replace("ws://", "wss://").replace("http://", "https://"))


def times_recorded(folder):
    found = samples_in(files_of(folder))
    return [when for when, _ in next(values for name, values in found.items() if "fake-1.feeds.false" in name)]


def test_an_open_site_that_runs_is_closed_as_the_page_says(shell, tmp_path):
    site = tmp_path / "site-config" / "closed-site" / "default.yaml"
    hk = tmp_path / "hk"
    opened(site)
    commands = f"{SETUP.splitlines()[0]}\n"
    assert "open" in shell(f"{commands}ocs-local-support generate_crossbar_config 2>&1\nocs-local-support start 2>&1")
    wait_for(lambda: list(hk.glob("*/*.g3")), 30)

    told = shell(f"{commands}ocs keys init")
    assert "keys: keys" in told
    assert shell(f"{commands}ocs-client-cli scan --json")  # nothing that runs has changed
    closed(site)
    shell(f"{commands}ocs-local-support stop")
    before = times_recorded(hk)
    shell(f"{commands}ocs-local-support generate_crossbar_config --force\nocs-local-support start")
    assert "closed: the router refuses who has no key" in shell(f"{commands}ocs doctor")
    assert "fake-1" in shell(f"{commands}ocs-client-cli scan")
    wait_for(lambda: len(list(hk.glob("*/*.g3"))) > 1, 30)
    shell(f"{commands}ocs-local-support stop")
    times = times_recorded(hk)
    assert times == sorted(set(times))
    assert len(times) > len(before) > 0
