"""A closed site at work: all its agents, started by a host manager, recorded, operated, and given other keys."""

import contextlib
import json
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from ocs.errors import OCSError
from ocs.keys.making import make_site, rotate
from ocs.keys.site import identities_of
from ocs.ocs_client import OCSClient
from ocs.scf.model import SiteConfig
from tests.harness.archive import files_of, samples_in
from tests.harness.closed_site import ClosedSite
from tests.harness.managing import end_all
from tests.harness.site import Site
from tests.harness.waiting import wait_for

RATE = 20.0


class World:
    """A closed router, and a site file that names its keys."""

    def __init__(self, folder):
        self.closed = ClosedSite(folder, ())
        self.closed.ws_url, self.closed.http_url = self.closed.url, self.closed.http_url
        self.data = folder / "hk"
        self.site = Site(folder, _Addresses(self.closed))
        self.site.hub["keys"] = "keys"
        self.site.add_instance("HostManager", "hm")
        self.site.add_instance("RegistryAgent", "registry")
        self.site.add_instance("AggregatorAgent", "agg", ["--data-dir", str(self.data), "--initial-state", "record"])
        self.site.add_instance("FakeDataAgent", "fake-1", ["--mode", "acq", "--sample-rate", str(RATE)])
        self.make_keys()

    def make_keys(self):
        site = SiteConfig.from_yaml(str(self.site.path))
        make_site(self.closed.keys, identities_of(site), ["127.0.0.1"], time.time())

    def client(self, name, *arguments):
        """A client, as soon as its agent is there."""

        def made():
            with contextlib.suppress(OCSError):
                return OCSClient(name, args=[*self.site.args, *arguments])

        return wait_for(made, 30)

    def program(self, *words):
        command = [sys.executable, "-m", *words, *self.site.args]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


class _Addresses:
    def __init__(self, closed):
        self.ws_url, self.http_url, self.realm = closed.url, closed.http_url, closed.realm


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The site, with its host manager and all that it has started."""
    made = World(tmp_path_factory.mktemp("closed-site"))
    with made.closed, (made.site.directory / "hm.log").open("wb") as log:
        command = [sys.executable, "-m", "ocs.agent_cli", "--instance-id", "hm", *made.site.args]
        state = ["--state-dir", str(made.site.state_dir)]
        manager = subprocess.Popen([*command, *state], stdout=log, stderr=log, cwd=made.site.directory)
        try:
            yield made
        finally:
            manager.terminate()
            manager.wait(20)
            end_all(made.site.directory)


@pytest.mark.slow
def test_all_agents_work_together(world):
    states = wait_for(lambda: world.client("hm").manager.status().session["data"].get("child_states"), 30)
    assert {each["instance_id"] for each in states} == {"registry", "agg", "fake-1"}
    fake, registry = world.client("fake-1"), world.client("registry")
    wait_for(lambda: fake.acq.status().session.get("data", {}).get("fields"))
    assert fake.acq.stop()[0] == 0
    assert fake.acq.wait(timeout=10)[0] == 0
    assert fake.acq.start()[0] == 0

    def known():
        return registry.main.status().session.get("data", {})

    wait_for(lambda: {"observatory.fake-1", "observatory.agg", "observatory.hm"} <= set(known()))


@pytest.mark.slow
def test_programs_show_the_clients_key(world):
    world.client("fake-1")
    found = world.program("ocs.client_cli", "scan")
    assert (found.returncode, "fake-1" in found.stdout) == (0, True), found.stderr
    status = world.program("ocs.cli.main", "status")
    assert "fake-1" in status.stdout, status.stderr


@pytest.mark.slow
def test_an_onlooker_listens_to_what_is_published(world):
    world.client("fake-1")
    observer = str(world.closed.keys / "private" / "observer.key")
    words = ["ocs.client_cli", "listen", "--json", "registry.feeds.heartbeat", *world.site.args, "--key-file", observer]
    with subprocess.Popen([sys.executable, "-u", "-m", *words], stdout=subprocess.PIPE, text=True) as listening:
        heard = json.loads(listening.stdout.readline())
        listening.terminate()
    assert heard["topic"] == "observatory.registry.feeds.heartbeat"


@pytest.mark.slow
def test_an_observers_key_operates_nothing(world):
    world.client("fake-1")
    observer = str(world.closed.keys / "private" / "observer.key")
    with pytest.raises(OCSError, match="access"):
        OCSClient("fake-1", args=[*world.site.args, "--key-file", observer])


@pytest.mark.slow
@pytest.mark.faults
def test_a_key_is_replaced_at_once_and_no_sample_is_lost(world):
    fake, recorder = world.client("fake-1"), world.client("agg")
    wait_for(lambda: fake.acq.status().session["op_code"] == 3)
    before = fake.acq.status().session["data"]["timestamp"]

    def counted():
        return fake.acq.status().session["data"]["timestamp"]

    wait_for(lambda: counted() > before + 1)
    rotate(world.closed.keys, "fake-1", time.time(), grace=0.0)
    wait_for(lambda: "is sent away" in world.closed.log)

    def goes_on():
        with contextlib.suppress(OCSError):
            return world.client("fake-1").acq.status().session["data"]["timestamp"] > time.time() - 1

    wait_for(goes_on, 30)
    after = time.time()
    wait_for(lambda: counted() > after + 1)
    recorder.record.stop()
    recorder.record.wait(timeout=20)
    series = next(values for name, values in samples_in(files_of(world.data)).items() if "fake-1.feeds.false" in name)
    times = [when for when, _ in series if before < when < after]
    assert len(times) > RATE
    longest = max(later - earlier for earlier, later in pairwise(times))
    assert longest < 10 / RATE, f"{longest:.2f} s without a sample"


@pytest.mark.slow
def test_a_key_of_somebody_else_is_refused_and_told_of(world):
    words = ["--instance-id", "fake-1", *world.site.args, "--crossbar-timeout", "2"]
    wrong = ["--key-file", str(world.closed.keys / "private" / "nobody.key")]
    (world.closed.keys / "private" / "nobody.key").write_text("ab" * 32 + "\n")
    command = [sys.executable, "-m", "ocs.agent_cli", *words, *wrong]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "may not connect with this key" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.slow
def test_without_its_key_an_agent_says_which_file_is_missing(world):
    world.site.add_instance("FakeDataAgent", "late")
    command = [sys.executable, "-m", "ocs.agent_cli", "--instance-id", "late", *world.site.args]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "private/late.key" in ended.stderr
    assert "ocs keys init" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
