"""`ocs keys` beside a router that runs: what it changes holds at once, and the router is not restarted."""

import json
import subprocess
import time

import pytest
import pytest_twisted
import yaml
from twisted.internet.threads import deferToThread

from ocs.cli.main import main
from ocs.components.names import ComponentId, Prefix, uri_of
from ocs.keys.site import identities_of
from ocs.site_config import SiteConfig
from tests.harness.closed_site import ClosedSite
from tests.harness.waiting import wait_for

INSTANCES = {"spawner": "SpawnAgent", "fake-1": "FakeDataAgent"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A closed site of a site file, which is at `site.file`."""
    folder = tmp_path_factory.mktemp("keys-live")
    hub = {"wamp_server": "ws://localhost:1/ws", "wamp_http": "http://localhost:1/call"}
    hub |= {"wamp_realm": "test_realm", "address_root": "observatory"}
    entries = [{"instance-id": name, "agent-class": agent_class} for name, agent_class in INSTANCES.items()]
    described = {"hub": hub, "hosts": {"localhost": {"agent-instances": entries}}}
    with ClosedSite(folder, tuple(identities_of(SiteConfig.from_dict(described)))) as site:
        site.file = folder / "site.yaml"
        site.file.write_text(yaml.safe_dump(described))
        yield site


@pytest.fixture
def keys(site, capsys):
    """Return a function that runs `ocs keys`, and returns what it printed."""

    def keys(*words):
        assert main(["keys", words[0], "--site-file", str(site.file), *words[1:]]) == 0
        return capsys.readouterr().out

    return keys


async def joins(site, name, key=None):
    async with site.session(name, key=key):
        return True


async def taken_note_of(site, key, status):
    """Wait until the bridge answers so to who has a key: the router looks at the table once a second."""

    def answer():
        token = key.token(site.realm, time.time())
        return site.post({"procedure": "wamp.session.count"}, None, Authorization=f"Bearer {token}")[0]

    await deferToThread(wait_for, lambda: answer() == status)


@pytest_twisted.ensureDeferred
async def test_who_is_added_joins_and_who_is_revoked_is_sent_away(site, keys):
    keys("add", "alice", "--role", "client")
    alice = site.key("alice")
    await taken_note_of(site, alice, 200)
    async with site.session("alice") as session:
        keys("revoke", "alice")
        await session.left
    with pytest.raises(ConnectionError, match="may not connect"):
        await joins(site, "alice", alice)


@pytest_twisted.ensureDeferred
async def test_a_replaced_key_joins_until_its_time_is_over(site, keys):
    old = site.key("client")
    keys("rotate", "client")
    new = site.key("client")
    await taken_note_of(site, new, 200)
    assert await joins(site, "client", old)
    assert await joins(site, "client", new)
    keys("rotate", "client", "--grace", "0")
    newest = site.key("client")
    await taken_note_of(site, newest, 200)
    for key in (old, new):
        with pytest.raises(ConnectionError, match="may not connect"):
            await joins(site, "client", key)
    assert await joins(site, "client", newest)


@pytest_twisted.ensureDeferred
async def test_a_token_is_taken_by_curl_as_the_page_says(site, keys):
    token = keys("token", "--for", "600").strip()
    call = json.dumps({"procedure": "wamp.session.count"})
    words = ["curl", "--silent", "--cacert", str(site.ca), "-H", f"Authorization: Bearer {token}", site.http_url]
    done = await deferToThread(subprocess.run, [*words, "-d", call], capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["args"][0] >= 1


@pytest_twisted.ensureDeferred
async def test_components_use_the_key_of_the_spawn_agent_that_started_them(site):
    component = uri_of(site.root, ComponentId(Prefix("ESW", "a b"), "SequenceComponent"))
    async with site.session("spawner") as spawner, site.session("spawner") as started, site.session("fake-1") as fake:
        await spawner.register(time.time, "observatory.spawner.ops")
        await started.register(time.time, "observatory.seqcomp-esw-a.ops")
        await started.register(time.time, component)
        await fake.register(time.time, uri_of(site.root, ComponentId(Prefix("OCS", "fake-1"), "Agent")))
        for uri in ("observatory.seqcomp-esw-b.ops", uri_of(site.root, ComponentId(Prefix("OCS", "fake-2"), "Agent"))):
            with pytest.raises(Exception, match="not authorized"):
                await fake.register(time.time, uri)
