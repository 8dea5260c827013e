"""`ocs doctor` at a closed site, and at one that should be."""

import json
import time
from functools import partial

import pytest
import yaml
from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.types import ComponentConfig
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ocs import access_diagnosis
from ocs.cli import doctor
from ocs.diagnosis import Level
from ocs.errors import ControlClientError
from ocs.keys.finding import AUTHORITY_FILE, find_keys
from ocs.keys.making import make_site
from ocs.keys.table import Identity
from ocs.ocs_client import OCSClient
from ocs.router.ports import free_port
from ocs.wamp.link import RouterLink
from tests.harness.closed_site import ClosedSite


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    with ClosedSite(tmp_path_factory.mktemp("closed")) as site:
        yield site


@pytest.fixture
def look(closed, tmp_path, capsys):
    """Run `ocs doctor` with some differences in the hub; the exit code, and findings by subject."""

    def run(**changes):
        agent = {"agent-class": "FakeDataAgent", "instance-id": "fake-1"}
        hub = {**vars(closed.hub), "keys": str(closed.keys), **changes}
        path = tmp_path / "site.yaml"
        path.write_text(yaml.safe_dump({"hub": hub, "hosts": {"here": {"agent-instances": [agent]}}}))
        code = doctor.main(["--json", "--site-file", str(path), "--site-host", "here"])
        return code, {each["subject"]: each for each in json.loads(capsys.readouterr().out)}

    return run


def test_at_a_closed_site_all_is_well_and_a_stranger_is_refused(look):
    _, found = look()
    for subject in ("router", "HTTP bridge", "router's clock", "access", "certificate", "admission"):
        assert found[subject]["level"] == "ok", found[subject]
    assert "refuses who has no key" in found["access"]["message"]
    assert "2 keys of this machine" in found["admission"]["message"]


def test_a_site_file_that_names_no_keys_cannot_reach_a_closed_router(look):
    code, found = look(keys="")
    assert (code, found["access"]["level"]) == (1, "fail")
    assert "asks for a key" in found["access"]["message"]


def test_a_key_that_the_router_does_not_admit_is_named_with_the_router_s_own_words(closed, tmp_path):
    make_site(tmp_path, [Identity("fake-1", "agent", ("fake-1",))], ["127.0.0.1"], time.time())
    (found,) = access_diagnosis.check_admission(closed.url, closed.realm, tmp_path, ["fake-1"])
    assert found.level is Level.FAIL
    assert "does not admit fake-1: " in found.message


def test_another_authority_s_router_is_not_the_site_s(closed, tmp_path):
    make_site(tmp_path, [], ["127.0.0.1"], time.time())
    (found,) = access_diagnosis.check_certificate(closed.url, tmp_path)
    assert (found.level, "not good" in found.message) == (Level.FAIL, True)
    (tmp_path / AUTHORITY_FILE).write_bytes(closed.ca.read_bytes())
    (found,) = access_diagnosis.check_certificate(closed.url, tmp_path)
    assert found.level is Level.OK


def test_a_client_does_not_send_its_token_to_a_router_that_is_not_the_site_s(closed, tmp_path):
    make_site(tmp_path, [Identity("client", "client")], ["127.0.0.1"], time.time())
    place = (
        f"--site none --site-http {closed.http_url} --site-realm {closed.realm} --address-root {closed.root}".split()
    )
    with pytest.raises(ControlClientError, match="is not known as this site's router"):
        OCSClient("fake-1", args=[*place, "--site-http", closed.http_url, "--site-keys", str(tmp_path)])


@pytest.mark.parametrize(
    ("ahead", "level", "words"), [(0, Level.OK, ""), (90, Level.WARN, "behind"), (-90, Level.WARN, "ahead")]
)
def test_clocks_that_differ_are_told(closed, ahead, level, words):
    (found,) = access_diagnosis.check_clock_of_router(closed.http_url, lambda: time.time() + ahead)
    assert found.level is level
    assert words in found.message


def test_an_open_router_is_told_and_at_a_site_with_keys_it_is_to_be_repaired(router):
    (found,) = access_diagnosis.check_access(router.ws_url, router.realm, closed=False)
    assert (found.level, "open to every program of this machine" in found.message) == (Level.OK, True)
    (found,) = access_diagnosis.check_access(router.ws_url, router.realm, closed=True)
    assert (found.level, "admits everybody" in found.message) == (Level.FAIL, True)


def test_where_no_router_answers_nothing_is_said_of_it(tmp_path):
    unused_port = free_port()
    url = f"wss://127.0.0.1:{unused_port}/ws"
    assert list(access_diagnosis.check_access(url, "realm", closed=True)) == []
    assert list(access_diagnosis.check_certificate(url, tmp_path)) == []
    assert list(access_diagnosis.check_clock_of_router(f"https://127.0.0.1:{unused_port}/call", time.time)) == []


@ensureDeferred
async def test_a_session_that_does_not_trust_the_router_tells_why_it_does_not_join(closed, tmp_path):
    make_site(tmp_path, [Identity("client", "client")], ["127.0.0.1"], time.time())
    told = Deferred()
    session = ApplicationSession(ComponentConfig(closed.realm))
    find = partial(find_keys, tmp_path, ["client"])
    link = RouterLink(
        session, closed.url, closed.realm, reactor=reactor, timeout=0.5, on_give_up=told.callback, keys=find
    )
    link.start()
    assert "it is not the site's own router, or the site's ca.crt is not here" in await told
    await link.stop()
