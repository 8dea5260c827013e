"""Components at a closed site: what a spawn agent starts connects with its key, or with its own if it has one."""

import contextlib
import re
import subprocess
import sys
import time

import pytest

from ocs.errors import OCSError
from ocs.keys.making import make_site
from ocs.keys.site import identities_of
from ocs.ocs_client import OCSClient
from ocs.scf.model import SiteConfig
from tests.harness.closed_site import ClosedSite
from tests.harness.examples import DOCS
from tests.harness.managing import end_all
from tests.harness.serving import start_service
from tests.harness.site import Site
from tests.harness.waiting import wait_for

UNLISTED = {"prefix": "ESW.primary", "componentType": "SequenceComponent"}
LISTED = {"prefix": "OCS.fake-1", "componentType": "Agent"}


class Spawner:
    """A closed router, and a spawn agent there."""

    def __init__(self, closed, folder):
        closed.ws_url = closed.url
        self.closed = closed
        self.site = Site(folder, closed)
        self.site.hub["keys"] = "keys"
        self.site.add_instance("SpawnAgent", "spawner", ["--prefix", "ESW.machine", "--working-dir", str(folder)])
        self.site.add_instance("FakeDataAgent", "fake-1", ["--mode", "idle"], manage="ignore")
        make_site(closed.keys, identities_of(SiteConfig.from_yaml(str(self.site.path))), ["127.0.0.1"], time.time())

    def ask(self, procedure, argument):
        """Call by HTTP, as people do, with the client's key."""
        call = {"procedure": procedure, "args": [argument]}
        status, answer = self.closed.post(call)
        assert status == 200, answer
        assert "args" in answer, answer
        return answer["args"][0]

    def spawn(self, request):
        return self.ask("observatory.spawner.spawn", request)

    def owner_of(self, procedure):
        """Tell by whose key a procedure is registered."""
        callees = self.ask("wamp.registration.list_callees", self.ask("wamp.registration.match", procedure))
        return [self.ask("wamp.session.get", callee)["authid"] for callee in callees]

    def is_there(self):
        with contextlib.suppress(OCSError):
            return OCSClient("spawner", args=self.site.args)


@pytest.fixture(scope="module")
def spawner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed-components")
    with ClosedSite(folder, ()) as closed, (folder / "spawner.log").open("wb") as log:
        made = Spawner(closed, folder)
        command = [sys.executable, "-m", "ocs.agent_cli", "--instance-id", "spawner", *made.site.args]
        command += ["--state-dir", str(made.site.state_dir)]
        agent = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            wait_for(made.is_there, 30)
            yield made
        finally:
            agent.terminate()
            agent.wait(20)
            end_all(folder)


@pytest.mark.slow
def test_a_component_without_an_entry_uses_the_key_of_its_spawn_agent(spawner):
    assert spawner.spawn({"kind": "SequenceComponent", "componentName": "primary"}) == {"_type": "Spawned"}
    assert spawner.owner_of("observatory.components.SequenceComponent.ESW.primary") == ["spawner"]
    assert spawner.ask("observatory.spawner.kill", UNLISTED) == {"_type": "Killed"}


@pytest.mark.slow
def test_an_instance_of_the_site_file_uses_its_own_key(spawner):
    assert spawner.spawn({"kind": "Agent", "instanceId": "fake-1"}) == {"_type": "Spawned"}
    assert spawner.owner_of("observatory.fake-1.ops") == ["fake-1"]
    assert spawner.owner_of("observatory.components.Agent.OCS.fake-1") == ["fake-1"]
    assert spawner.ask("observatory.spawner.kill", LISTED) == {"_type": "Killed"}


@pytest.mark.slow
def test_an_instance_without_a_key_is_not_spawned_and_the_missing_file_is_told(spawner):
    spawner.site.add_instance("FakeDataAgent", "late", manage="ignore")
    answer = spawner.spawn({"kind": "Agent", "instanceId": "late"})
    assert answer["_type"] == "Failed"
    assert "private/late.key" in answer["msg"]


@pytest.mark.slow
def test_the_agent_service_spawns_and_kills_with_the_key_that_the_page_makes(spawner, run_agent):
    command = re.search(r"`ocs (keys add agent-service .*?)`", (DOCS / "user" / "keys.md").read_text())[1]
    words = [sys.executable, "-m", "ocs.cli.main", *command.split(), "--keys", str(spawner.closed.keys)]
    subprocess.run(words, check=True, timeout=30, capture_output=True)
    spawner.closed.wait_until_known("agent-service")
    service = start_service(run_agent, spawner.site)
    service.wait_for_machines("ESW.machine")
    assert service.client.spawn_sequence_component("ESW.machine", "primary") == {"_type": "Spawned"}
    assert service.where() == {"ESW.machine": ["ESW.primary"], "": []}
    assert spawner.owner_of("observatory.components.Service.ESW.agent_service") == ["agent-service"]
    assert service.client.kill_component(UNLISTED) == {"_type": "Killed"}
