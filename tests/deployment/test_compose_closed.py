"""The compose site, closed as docs/user/docker.md says."""

import os
import re
import sys
from pathlib import Path

import pytest

from ocs.router import health
from tests.deployment.building import ROOT, copy_sources
from tests.deployment.test_compose_site import HEALTH, ComposeSite
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(900)]  # the first test waits for the images

PAGE = (ROOT / "docs" / "user" / "docker.md").read_text()
CLOSING, _ = re.findall(
    r"^```\n(.*?)^```$", PAGE.partition("## Closed\n")[2].partition("\n## ")[0], re.DOTALL | re.MULTILINE
)
SERVICES = ("router", "ocs-registry", "ocs-fake-1")


@pytest.fixture(scope="module")
def site(images, tmp_path_factory):
    *commands, _up = CLOSING.splitlines()
    running = ComposeSite(copy_sources(tmp_path_factory.mktemp("closed-compose")), images)
    running.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    running.run("bash", "-ec", "\n".join(commands))
    running.env["COMPOSE_FILE"] = "compose.yaml:compose.closed.yaml"
    keys = running.folder / "keys"
    for path in (keys / "server.key", *(keys / "private").glob("*.key")):
        if path.stem != "client":
            os.chown(path, 1000, -1)
    try:
        running.compose("up", "--detach", *SERVICES, timeout=120)
        yield running
        running.compose("stop", timeout=120)
        codes = {name: running.inspect(name, "{{.State.ExitCode}}") for name in SERVICES}
        assert codes == dict.fromkeys(codes, "0")
    finally:
        print(running.compose("logs", "--no-color", check=False))
        running.compose("down", "--volumes", "--remove-orphans", timeout=120)


def test_agents_in_containers_are_driven_by_whoever_has_the_key_and_strangers_are_refused(site):
    assert site.client("fake-1").delay_task(delay=0.1).session["success"]
    registry = site.client("registry")
    wait_for(lambda: "observatory.fake-1" in registry.main.status().session["data"])
    url = f"wss://127.0.0.1:{site.env['OCS_PORT']}/ws"
    assert health.check(url, "test_realm").stage == "closed"


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_healthy_and_sees_no_key_but_its_own(site, service):
    assert wait_for(lambda: "answers" in said(site, service, *HEALTH) or "closed" in said(site, service, *HEALTH))
    own = {f"{service.removeprefix('ocs-')}.key"} - {"router.key"}
    assert set(said(site, service, "ls", "/keys/private").split()) == own


def said(site, service, *command):
    return site.compose("exec", "--no-TTY", service, *command, check=False)
