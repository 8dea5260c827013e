"""`ocs up --secure` as a user runs it: closed from the first moment, and as easy to use as an open site."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ocs.keys.table import SiteTable
from ocs.router import health
from ocs.router.ports import free_port
from tests.harness.processes import living
from tests.harness.running_up import OCS, starting_up
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def up(tmp_path):
    yield from starting_up(tmp_path)


@pytest.fixture
def site_file(tmp_path):
    """A site that names a folder of keys which is not there."""
    port = free_port()
    hub = {
        "wamp_server": f"wss://127.0.0.1:{port}/ws",
        "wamp_http": f"https://127.0.0.1:{port}/call",
        "wamp_realm": "test_realm",
        "address_root": "observatory",
        "keys": "my-keys",
    }
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump({"hub": hub, "hosts": {"localhost": {"agent-instances": [fake("fake-1")]}}}))
    return path


def fake(name):
    return {"agent-class": "FakeDataAgent", "instance-id": name}


def run(command, tmp_path, *, shell=True, **kwargs):
    return subprocess.run(
        command, shell=shell, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False, **kwargs
    )


def test_the_demonstration_site_runs_closed_and_the_commands_that_it_shows_have_their_key(up, tmp_path):
    running = up("--secure", "--port", "auto")
    summary = running.until_all_up()
    assert summary["agents"] == 5
    running.until(lambda event: event["event"] == "summary" and event["samples"] > 0)

    start = running.events[0]
    assert (start["closed"], start["keys"]) == (True, str(running.data_dir / "keys"))
    assert Path(start["client_key"]).stat().st_mode & 0o777 == 0o600
    assert any(start["client_key"].endswith("private/client.key") and "closed" in hint for hint in start["hints"])
    assert health.check(start["wamp_server"], "test_realm").stage == "closed"

    scan, shell = (next(hint for hint in start["hints"] if word in hint) for word in (" scan ", " shell "))
    assert "fake-1" in run(scan, tmp_path).stdout
    assert "OK" in run(shell, tmp_path, input="print(client.count.status())\n").stdout

    family = running.family()
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert living(family) == []
    assert running.stderr() == ""


def test_programs_without_the_site_file_need_what_the_line_for_the_shell_gives_them(up, tmp_path, site_file):
    running = up("--secure", "--site-file", str(site_file))
    start = running.until_all_up() and running.events[0]
    export = next(hint.partition(":")[2].strip() for hint in start["hints"] if "export OCS_KEYS" in hint)
    bare = f"--site none --site-http {start['wamp_http']} --site-realm test_realm --address-root observatory"
    call = (
        f"from ocs.ocs_client import OCSClient; print(OCSClient('fake-1', args='{bare}'.split()).delay_task.status())"
    )
    with_key = run(f'{export}; {sys.executable} -c "{call}"', tmp_path)
    assert "OK" in with_key.stdout, with_key.stderr
    without = run(f'{sys.executable} -c "{call}"', tmp_path)
    assert without.returncode == 1


def test_keys_are_made_where_the_site_file_wants_them_and_for_whom_it_names_later_too(up, tmp_path, site_file):
    folder = tmp_path / "my-keys"
    refused = run([*OCS, "up", "--site-file", str(site_file)], tmp_path, shell=False)
    assert refused.returncode == 1
    assert f"no {folder}/private/hm-localhost.key: `ocs up --secure` makes" in refused.stderr
    assert not folder.exists()

    running = up("--secure", "--site-file", str(site_file))
    running.until_all_up()
    assert f"made 4 keys in {folder}" in running.events[0]["hints"]
    site = yaml.safe_load(site_file.read_text())
    site["hosts"]["localhost"]["agent-instances"].append(fake("fake-2"))
    site_file.write_text(yaml.safe_dump(site))
    wait_for((folder / "private" / "fake-2.key").exists)
    assert "fake-2" in SiteTable.read(folder).identities
