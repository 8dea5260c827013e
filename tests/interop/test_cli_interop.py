"""The command-line clients of both packages see the agents of both."""

import contextlib
import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.harness.agents import agent_environment
from tests.harness.peers import SIDES

pytestmark = pytest.mark.interop

ROOT_TOPIC = "observatory"
OPS = ("acq", "count", "set_heartbeat", "delay_task")


@pytest.fixture(scope="module")
def agents(start):
    """A fake data agent and a registry of each side."""
    handles = [start(side, f"fake-{side}", "FakeDataAgent", ["--mode", "acq"]) for side in SIDES]
    handles += [start(side, f"registry-{side}", "RegistryAgent", ["--wait-time", "1"]) for side in SIDES]
    for handle in handles:
        handle.wait_until_ready()
    return {handle.instance_id: handle for handle in handles}


@pytest.fixture(scope="module")
def client_cli(pythons, module_site):
    """The start of a command line of ocs-client-cli, by side."""
    return {
        side: [python, str(Path(python).with_name("ocs-client-cli")), *module_site.args]
        for side, python in pythons.items()
    }


def told(command, site, timeout=20):
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=agent_environment(site),
        cwd=site.directory,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def listening(command, site):
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=agent_environment(site, {"PYTHONUNBUFFERED": "1"}),
        cwd=site.directory,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def seen(text, agents):
    """Return which of the agents a listing names."""
    words = set(text.split())
    return {instance_id for instance_id in agents if instance_id in words}


@pytest.mark.parametrize("side", SIDES)
def test_scan_sees_every_agent(agents, client_cli, module_site, side):
    assert seen(told([*client_cli[side], "scan"], module_site), agents) == set(agents)


@pytest.mark.parametrize("side", SIDES)
def test_scan_with_details_tells_how_every_operation_stands(agents, client_cli, module_site, side):
    text = told([*client_cli[side], "scan", "--details"], module_site)
    lines = [line.split() for line in text.splitlines()]

    assert lines.count(["acq", ":", "RUNNING"]) == 2
    assert lines.count(["delay_task", ":", "NONE"]) == 2
    assert lines.count(["main", ":", "RUNNING"]) == 2


@pytest.mark.parametrize("registry", SIDES)
@pytest.mark.parametrize("side", SIDES)
def test_scan_by_a_registry_sees_every_agent(agents, client_cli, module_site, side, registry):
    command = [*client_cli[side], "scan", "--details", "--use-registry", f"registry-{registry}"]
    wanted = set(agents) - {"registry-published"}  # it does not hear itself
    deadline = time.monotonic() + 10
    while (missing := wanted - seen(text := told(command, module_site), agents)) and time.monotonic() < deadline:
        time.sleep(0.2)

    assert not missing
    assert [line.split() for line in text.splitlines()].count(["acq", ":", "RUNNING"]) == 2


@pytest.mark.parametrize("agent", SIDES)
@pytest.mark.parametrize("side", SIDES)
def test_listen_shows_a_feed(agents, client_cli, module_site, side, agent):
    topic = f"{ROOT_TOPIC}.fake-{agent}.feeds.false_temperatures"
    with listening([*client_cli[side], "listen", "--json", topic], module_site) as process:
        heard = json.loads(next(line for line in process.stdout if line.startswith("{")))

    assert heard["topic"] == topic
    data, feed = heard["message"]
    assert data["temps"]["data"]["channel_00"]
    assert feed["agent_class"] == "FakeDataAgent"


@pytest.mark.parametrize("side", SIDES)
def test_listen_hears_the_heartbeats_of_all(agents, client_cli, module_site, side):
    missing = {f"{ROOT_TOPIC}.{instance_id}.feeds.heartbeat" for instance_id in agents}
    with listening([*client_cli[side], "listen", "--json", f"{ROOT_TOPIC}..feeds.heartbeat"], module_site) as process:
        for line in process.stdout:
            if line.startswith("{"):
                missing.discard(json.loads(line)["topic"])
            if not missing:
                break

    assert not missing
