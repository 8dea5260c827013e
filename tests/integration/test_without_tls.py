"""Where what TLS takes is not installed, programs of a closed site say so in one line, and `ocs doctor` too."""

import os
import subprocess
import sys

import pytest
import yaml

from ocs.keys.making import make_site
from ocs.keys.table import Identity

HUB = {
    "wamp_server": "wss://127.0.0.1:9/ws",
    "wamp_http": "https://127.0.0.1:9/call",
    "wamp_realm": "test_realm",
    "address_root": "observatory",
}


@pytest.fixture
def run(tmp_path):
    """Run a program of a closed site as where pyOpenSSL is not installed."""
    make_site(tmp_path / "keys", [Identity("fake-1", "agent", ("fake-1",)), Identity("client", "client")], [], 0.0)
    agent = {"agent-class": "FakeDataAgent", "instance-id": "fake-1"}
    site = {"hub": {**HUB, "keys": "keys"}, "hosts": {"here": {"agent-instances": [agent]}}}
    (tmp_path / "default.yaml").write_text(yaml.safe_dump(site))
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text("import sys\nsys.modules['OpenSSL'] = None\n")
    env = {**os.environ, "OCS_CONFIG_DIR": str(tmp_path), "PYTHONPATH": str(tmp_path / "hidden")}

    def program(*words):
        command = [sys.executable, "-m", *words, "--site-host", "here"]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    return program


@pytest.mark.parametrize(
    "words", [("ocs.agent_cli", "--instance-id", "fake-1"), ("ocs.client_cli", "listen", "fake-1")], ids=lambda w: w[0]
)
def test_it_is_told_what_to_install(run, words):
    done = run(*words)
    assert done.returncode == 1
    line = "the router at wss://127.0.0.1:9/ws takes TLS, which is not installed here: run `pip install 'ocs[keys]'`"
    assert done.stderr.strip().endswith(line)
    assert done.stderr.count("\n") == 1
