"""The access director on a real site: lockouts and their end, restarts, forgeries, floods, a full disk."""

import contextlib
import io
import json
import os
import signal
import time

import psutil
import pytest
import yaml
from autobahn.wamp.types import PublishOptions
from pytest_twisted import ensureDeferred
from twisted.internet.defer import DeferredList
from twisted.internet.threads import deferToThread

from ocs.access import ExclusiveAccessClient
from ocs.base import ERROR, OK
from ocs.cli.main import main
from ocs.errors import ControlClientError
from ocs.site_config import get_control_client
from tests.harness.recording.disk import CannotTest, SmallDisk
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

CONFIG = {
    "passwords": [{"default": True, "password_1": "", "password_2": "two", "password_3": "three"}],
    "exclusive_access_blocks": [
        {
            "name": "fakes",
            "password": "may I",
            "grants": [{"agent_class": "FakeDataAgent", "cred_level": 3, "lockout_levels": [1, 2, 3]}],
        }
    ],
}


class DirectedSite:
    """A site whose agents get their rules from a director.

    Attributes:
        director: the director's handle, once it is started.
    """

    def __init__(self, site, run_agent, config=CONFIG):
        self.site, self.run_agent = site, run_agent
        site.hub["access_policy"] = "director:acc"
        site.add_instance("AccessDirector", "acc", ["--config-file", "acc.yaml"])
        self.configure(config)
        self.director = None

    def configure(self, config):
        path = self.site.directory / "acc.yaml"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)

    def start(self):
        self.director = self.run_agent("acc", site=self.site)
        self.wait_for_director()
        return self.director

    def wait_for_director(self):
        def answers():
            with contextlib.suppress(LookupError):
                return controls(self.director)["update_count"]

        wait_for(answers)

    def fake(self, instance_id="fake-1"):
        self.site.add_instance("FakeDataAgent", instance_id, [])
        handle = self.run_agent(instance_id, site=self.site)
        wait_for(lambda: controls(handle)["update_count"])
        return handle

    def client(self, grantee="nina", password="may I"):
        control = get_control_client("acc", args=self.site.args)
        return ExclusiveAccessClient("acc", grantee, "fakes", password, client=control)

    @property
    def held(self):
        return [grant["name"] for grant in self.director.call(".ops", "status", "manager")[2]["data"]["grants"]]


def controls(agent):
    return agent.call("", "get_api")["access_control"]


def start(agent, password=None, op="set_heartbeat", params=None):
    return agent.call(".ops", "start", op, params or {}, None, password)


def may(agent, password):
    """Tell whether a password may start something, waiting for what may still go on."""
    code, message, _ = start(agent, password)
    assert code == OK or "level" in message, message
    agent.call(".ops", "wait", "set_heartbeat")
    return code == OK


@pytest.fixture
def directed(site, run_agent):
    made = DirectedSite(site, run_agent)
    made.start()
    return made


def test_who_holds_a_grant_may_and_all_others_may_not_until_it_is_given_back(directed):
    fake = directed.fake()
    assert [may(fake, password) for password in ("", "two", "three", "wrong")] == [True] * 4
    client = directed.client()
    assert client.acquire()[0]
    # At once: agents have the rules before the holder has his password.
    assert [may(fake, password) for password in ("", "two", "three", client.password)] == [False, False, False, True]
    assert "held by nina" in start(fake, "two")[1]
    assert client.renew(time.time() + 300)[0]
    assert may(fake, client.password)
    other = directed.client("otto")
    assert "held already, by nina" in other.acquire()[1]["error"]
    assert "only the holder" in other.release()[1]["error"]
    password = client.password
    assert client.release()[0]
    assert may(fake, "")
    assert start(fake, password, "delay_task")[0] == ERROR
    assert start(fake, "two", "delay_task", {"delay": 0})[0] == OK


def test_a_grant_ends_by_itself_and_agents_hear_of_it_at_once(directed):
    fake = directed.fake()
    client = directed.client()
    assert client.acquire(end := time.time() + 1.5)[0]
    assert not may(fake, "three")
    before = controls(fake)["update_count"]
    wait_for(lambda: controls(fake)["update_count"] > before)
    assert -0.1 < time.time() - end < 1.0
    assert may(fake, "three")
    assert directed.held == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_grant_survives_the_directors_restart(directed, how):
    fake = directed.fake()
    client = directed.client()
    client.acquire(time.time() + 300)
    if how == signal.SIGKILL:
        directed.director.kill()
    else:
        assert directed.director.stop(how) == 0
    assert not may(fake, "three")  # what is in force stays in force while it is away
    before = controls(fake)["update_timestamp"]
    directed.start()
    wait_for(lambda: controls(fake)["update_timestamp"] > before)
    assert directed.held == ["fakes"]
    assert [may(fake, "three"), may(fake, client.password)] == [False, True]
    assert client.release()[0]
    assert may(fake, "three")


def test_after_the_routers_restart_its_procedures_are_back_and_the_grant_too(own_router, make_site, run_agent):
    directed = DirectedSite(make_site(own_router), run_agent)
    directed.start()
    fake = directed.fake()
    client = directed.client()
    client.acquire(time.time() + 300)
    own_router.kill()
    own_router.start()
    directed.director.wait_until_ready()
    fake.wait_until_ready()
    assert [may(fake, "three"), may(fake, client.password)] == [False, True]

    def renewed():
        with contextlib.suppress(ControlClientError):
            return client.renew(time.time() + 400)[0]

    wait_for(renewed)
    assert client.release()[0]
    assert may(fake, "three")


def test_agents_that_are_locked_out_end_on_a_signal(directed):
    fake = directed.fake()
    assert start(fake, "", "acq")[0] == OK
    directed.client().acquire(time.time() + 300)
    assert fake.call(".ops", "stop", "acq", {}, None, "three")[0] == ERROR
    began = time.monotonic()
    assert fake.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5.0


@ensureDeferred
async def test_forged_rules_change_nothing(directed, router):
    fake = await deferToThread(directed.fake)
    address = directed.director.address
    free = {"hashed_pass": {"hash": "none", "value": ""}, "cred_level": 3, "scope_spec": {"default": True}}
    forged = {"ac_version": 1, "step": 10_000, "rules": [free]}
    before = await deferToThread(controls, fake)
    async with wamp_session(router) as session:
        for message in ({"reset": True, **forged}, {"target": "fake-1", **forged}):
            for event in (message, [message, {"session_id": "1"}], [message, {}]):
                options = PublishOptions(acknowledge=True)
                await session.publish(f"{address}.feeds.controls", event, options=options)
    await deferToThread(wait_for, lambda: fake.output.count("but not from it") == 6)
    assert await deferToThread(controls, fake) == before
    code, _, _ = await deferToThread(start, fake, "", "delay_task")
    assert code == ERROR


@ensureDeferred
async def test_ten_thousand_polls_leave_nothing_behind(directed, router):
    process = psutil.Process(directed.director.process.pid)
    async with wamp_session(router) as session:

        async def poll(number):
            for n in range(0, number, 200):
                calls = [session.call("observatory.acc.agent_poll", f"x-{n + i}", "X") for i in range(200)]
                assert all(answer == (True, True) for answer in await DeferredList(calls))

        await poll(4000)
        before = process.memory_info().rss
        await poll(10_000)
    assert process.memory_info().rss - before < 8 * 2**20
    assert await deferToThread(lambda: directed.held) == []


def test_a_thousand_rules_are_told_and_judged(site, run_agent):
    passwords = [{"default": True, "password_1": ""}]
    passwords += [{"instance_id": f"fake-{n}", "password_2": f"pw-{n}"} for n in range(1000)]
    # A thousand different passwords take the slow hash half a minute.
    directed = DirectedSite(site, run_agent, {**CONFIG, "passwords": passwords, "distrib_hashfunc": "md5"})
    directed.start()
    fake = directed.fake()
    assert start(fake, "pw-2", "delay_task")[0] == ERROR
    assert start(fake, "pw-1", "delay_task", {"delay": 0})[0] == OK


def test_the_configuration_is_read_anew_while_it_runs_and_a_mistake_is_told(directed):
    fake = directed.fake()

    def reload():
        assert start(directed.director, "", "reload_config")[0] == OK
        return directed.director.call(".ops", "wait", "reload_config")[2]

    directed.configure({**CONFIG, "passwords": [{"default": True, "password_2": "new"}]})
    assert reload()["success"]
    wait_for(lambda: "1-BASIC" in start(fake, "")[1] or "0-BLOCKED" in start(fake, "")[1])
    assert may(fake, "new")
    directed.configure({"passwords": 5})
    refused = start(directed.director, "new", "reload_config")
    assert refused[0] == OK
    assert not directed.director.call(".ops", "wait", "reload_config")[2]["success"]
    assert directed.director.call(".ops", "status", "manager")[2]["degraded"]
    assert may(fake, "new")


def test_guesses_are_slowed_down_at_the_director_and_at_agents(directed):
    fake = directed.fake()
    answers = [directed.client(password=f"guess-{n}").acquire()[1]["error"] for n in range(8)]
    assert any("too many wrong passwords" in answer for answer in answers)
    refusals = [start(fake, f"guess-{n}", "delay_task")[1] for n in range(8)]
    assert any("too many wrong passwords" in refusal for refusal in refusals)
    client = directed.client()
    wait_for(lambda: client.acquire()[0])


def test_people_hold_grants_with_the_command_line(directed, capsys, monkeypatch):
    fake = directed.fake()

    def ocs_access(*words, password="may I"):
        monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
        code = main(["access", words[0], *directed.site.args, *words[1:]])
        return code, capsys.readouterr()

    code, printed = ocs_access("acquire", "fakes", "--as", "nina", "--for", "10min")
    password = printed.out.strip()
    assert (code, may(fake, password), may(fake, "three")) == (0, True, False)
    assert "nina" in ocs_access("grants")[1].out
    assert ocs_access("renew", "fakes", "--as", "nina", "--for", "1h")[0] == 0
    assert 3000 < json.loads(ocs_access("grants", "--json")[1].out)[0]["expire_at"] - time.time() <= 3600
    code, printed = ocs_access("acquire", "fakes", "--as", "otto")
    assert (code, printed.out) == (1, "")
    assert "held already" in printed.err
    assert "wrong password" in json.loads(ocs_access("release", "fakes", "--json", password="no")[1].out)["error"]
    assert ocs_access("release", "fakes", "--as", "nina")[0] == 0
    assert "No grant" in ocs_access("grants")[1].out
    assert may(fake, "three")


@pytest.fixture
def small_disk(site):
    """The state of the site's agents on a disk of 1 MiB."""
    if os.geteuid():
        pytest.skip("mounting a file system is not permitted here")
    try:
        disk = SmallDisk(site.state_dir, 1)
    except CannotTest as why:
        pytest.skip(str(why))
    yield disk
    disk.close()


def test_with_a_full_disk_it_serves_on_says_so_and_recovers(small_disk, directed):
    fake = directed.fake()
    small_disk.fill()
    client = directed.client()
    assert client.acquire(time.time() + 300)[0]
    assert not may(fake, "three")
    status = directed.director.call(".ops", "status", "manager")[2]
    assert status["degraded"]
    assert directed.director.output.count("No space left") == 1
    small_disk.free()
    wait_for(lambda: not directed.director.call(".ops", "status", "manager")[2]["degraded"])
    directed.director.kill()
    directed.start()
    assert directed.held == ["fakes"]
