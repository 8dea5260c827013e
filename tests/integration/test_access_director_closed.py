"""The access director at a closed site: who gets its rules, and who holds a grant."""

import io
import time
from types import SimpleNamespace

import pytest
import yaml
from autobahn.wamp.types import PublishOptions, SubscribeOptions
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ocs.access import ExclusiveAccessClient
from ocs.agents.access_director.herald import Herald
from ocs.base import ERROR, OK
from ocs.cli.main import main
from ocs.keys.finding import key_path
from ocs.site_config import get_control_client
from tests.harness.agents import start_agent
from tests.harness.closed_site import ClosedSite
from tests.harness.site import Site
from tests.harness.waiting import wait_for

TOPIC = "observatory.director.feeds.controls"
END = "observatory.director.feeds.end"


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


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    with ClosedSite(tmp_path_factory.mktemp("closed")) as site:
        yield site


class Directed:
    """A director and an agent of it at the closed site, and clients with keys of their own."""

    def __init__(self, closed, folder):
        self.closed = closed
        router = SimpleNamespace(ws_url=closed.url, http_url=closed.http_url, realm=closed.realm)
        self.site = Site(folder, router)
        self.site.hub |= {"keys": str(closed.keys), "access_policy": "director:director"}
        self.site.add_instance("AccessDirector", "director", ["--config-file", "acc.yaml"])
        self.site.add_instance("FakeDataAgent", "fake-1", [])
        (folder / "acc.yaml").write_text(yaml.safe_dump(CONFIG))
        self.started = [start_agent(self.site, name) for name in ("director", "fake-1")]

    def call(self, address, *arguments, by="client", **keywords):
        """Call with somebody's token; None where there is no answer yet."""
        call = {"procedure": f"observatory.{address}", "args": arguments, "kwargs": keywords}
        answer = self.closed.post(call, by)[1]
        return answer["args"][0] if "error" not in answer else answer

    def start(self, password, by="client"):
        return self.call("fake-1.ops", "start", "delay_task", {"delay": 0}, None, password, by=by)

    def may(self, password, by="client"):
        code, message, _ = self.start(password, by)
        assert code == OK or "level" in message, message
        self.call("fake-1.ops", "wait", "delay_task")
        return code == OK

    def ready(self):
        told = self.call("fake-1", "get_api")
        return "error" not in told and told["access_control"]["update_count"]

    def client(self, name):
        keys = ["--key-file", str(key_path(self.closed.keys, name))]
        control = get_control_client("director", args=[*self.site.args, *keys])
        return ExclusiveAccessClient("director", "a scan", "fakes", "may I", client=control)


@pytest.fixture(scope="module")
def directed(closed, tmp_path_factory):
    for name in ("nina", "otto"):
        closed.add(name, "client")
    made = Directed(closed, tmp_path_factory.mktemp("directed"))
    try:
        wait_for(made.ready)
        wait_for(lambda: all("error" not in made.call("fake-1", "get_api", by=name) for name in ("nina", "otto")))
        yield made
    finally:
        for handle in made.started:
            print(handle.output)
            handle.kill()


def test_the_directors_rules_are_in_force(directed):
    assert [directed.may(password) for password in ("", "two", "three")] == [False, True, True]


def test_a_grant_is_its_holders_by_key_whatever_others_call_themselves(directed):
    nina, otto = directed.client("nina"), directed.client("otto")
    assert nina.acquire(time.time() + 100)[0]
    assert [directed.may("three"), directed.may(nina.password)] == [False, True]
    assert "held by a scan (nina)" in directed.start("three")[1]
    assert "only the holder" in otto.release()[1]["error"]
    assert "only the holder" in otto.renew()[1]["error"]
    assert directed.client("nina").renew()[0]  # another program with the same key
    assert nina.release()[0]
    assert directed.may("three")


def test_the_command_line_shows_its_key(directed, capsys, monkeypatch):
    def ocs_access(name, *words):
        monkeypatch.setattr("sys.stdin", io.StringIO("may I\n"))
        keys = ["--key-file", str(key_path(directed.closed.keys, name))]
        return main(["access", words[0], *directed.site.args, *keys, *words[1:]]), capsys.readouterr().out

    code, password = ocs_access("nina", "acquire", "fakes", "--as", "night shift")
    assert (code, directed.may(password.strip())) == (0, True)
    assert "night shift" in ocs_access("otto", "grants")[1]
    assert ocs_access("otto", "release", "fakes", "--as", "night shift")[0] == 1
    assert ocs_access("nina", "release", "fakes", "--as", "night shift")[0] == 0


@pytest.mark.parametrize("by", ["client", "observer", "nina"])
def test_only_agents_may_ask_for_rules(directed, by):
    assert "authorized" in str(directed.call("director.agent_poll", "fake-1", "FakeDataAgent", by=by))


def test_who_guesses_holds_up_nobody_else(directed):
    refusals = [directed.start(f"guess-{n}", by="otto") for n in range(8)]
    assert all(code == ERROR for code, _, _ in refusals)
    assert "too many wrong passwords" in refusals[-1][1]
    assert directed.may("two", by="nina")
    guesser = directed.client("otto")
    guesser._request["password"] = "no"
    answers = [guesser.acquire()[1]["error"] for _ in range(3)]
    assert all("wrong password" in answer for answer in answers)
    assert directed.client("nina").acquire()[0]
    assert directed.client("nina").release()[0]


class Ear:
    """Hears topics of the director, until what ends a test."""

    def __init__(self, session):
        self.session, self.heard, self.ended = session, [], Deferred()

    async def listen(self, topic, match):
        options = SubscribeOptions(match=match, details_arg="details")
        await self.session.subscribe(self._take, topic, options)
        return self

    def _take(self, *_arguments, details):
        if details.topic == END:
            self.ended.callback(None)
        else:
            self.heard.append(details.topic)


class Speaker:
    """As much of an agent as the herald needs, over a session of the test's own."""

    realm_joined = True

    def __init__(self, session):
        self.publish, self._session = session.publish, session

    def register_feed(self, name):
        return type("Feed", (), {"address": TOPIC, "encoded": lambda _: {"session_id": "1"}})()

    def on(self, _event, joined):
        joined(self._session, self._session._session_details)


@ensureDeferred
async def test_rules_are_handed_to_agents_however_others_listen(closed):
    async with (
        closed.session("director") as director,
        closed.session("fake-1") as agent,
        closed.session("client") as client,
        closed.session("observer") as observer,
    ):
        ears = [
            await Ear(session).listen(topic, match)
            for session in (agent, client, observer)
            for topic, match in (("observatory.director.feeds.", "prefix"), ("observatory..feeds.", "wildcard"))
        ]
        herald = Herald(Speaker(director))
        herald.say({"reset": True})
        herald.say({"target": "fake-1"}, agent._session_id)
        herald.say({"target": "x"}, observer._session_id)  # who has no right to them gets none by asking either
        await director.publish(END, options=PublishOptions(acknowledge=True))
        for ear in ears:
            await ear.ended.addTimeout(10, reactor)
    assert [len(ear.heard) for ear in ears] == [2, 2, 0, 0, 0, 0]
