"""What the published package and this one say of the same compose file and containers."""

import json
import os
import subprocess

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from ocs.agents.host_manager.docker import parse_docker_state
from tests.harness.compose_site import ComposeSite, service
from tests.harness.docker_engine import IMAGE

pytestmark = pytest.mark.interop

ASK_PUBLISHED = """
import json, sys
from twisted.internet import reactor
from ocs.agents.host_manager.drivers import parse_docker_state

def tell(answer):
    print("ANSWER", json.dumps(answer))

done = parse_docker_state(sys.argv[1])
done.addCallback(tell)
done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
done.addBoth(lambda _: reactor.stop())
reactor.run()
"""


@pytest_twisted.async_yield_fixture
async def site(tmp_path, docker_engine, monkeypatch):
    for name, value in docker_engine.env.items():
        monkeypatch.setenv(name, value)
    made = ComposeSite(tmp_path, docker_engine)
    yield made
    await made.close()


def ask_published(python: str, site: ComposeSite) -> tuple[dict, dict]:
    path = f"{site.engine.compose_bin.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [python, "-I", "-c", ASK_PUBLISHED, str(site.file)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    services, orphans = json.loads(line.removeprefix("ANSWER "))
    return services, orphans


@ensureDeferred
async def test_services_are_told_of_in_the_same_words(site, published_python):
    site.write(
        {"ocs-a": service(), "ocs-b": service("exit 3"), "ocs-c": service(image="nobody/there:1"), "ocs-d": service()}
    )
    site.engine.compose(site.file, "up", "--detach", "ocs-a", "ocs-b", "ocs-d")
    site.docker("wait", f"{site.name}-ocs-b-1")
    site.write({"ocs-a": service(), "ocs-b": service("exit 3"), "ocs-c": service(image="nobody/there:1")})
    theirs, their_orphans = ask_published(published_python, site)
    ours, our_orphans = await parse_docker_state(site.file)
    # The published one finds no id of a running service's container, nor all containers that have ended.
    told = {name: {**each, "container_id": ours[name]["container_id"]} for name, each in theirs.items()}
    for name in ("ocs-a", "ocs-c"):
        assert {key: ours[name][key] for key in told[name]} == told[name]
    assert theirs["ocs-b"].keys() <= ours["ocs-b"].keys()
    assert set(our_orphans) == set(their_orphans)
    for container, orphan in their_orphans.items():
        assert {key: our_orphans[container][key] for key in orphan} == orphan
    assert ours["ocs-a"]["image_tag"] == IMAGE
