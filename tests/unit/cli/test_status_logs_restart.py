"""`ocs status`, `ocs logs`, `ocs restart`, without a router."""

import json

import pytest

from ocs.cli.logs import follow, lines_after
from ocs.cli.main import main
from ocs.clients.call_errors import own_error, remote_error
from ocs.errors import ControlClientError
from tests.harness.fake_managers import FakeManager, child

HOST = {"hm-h1": "HostManager", "fake-1": "FakeDataAgent", "fake-u": "FakeDataAgent ignore"}


@pytest.fixture
def one_host(fake_site, site_args):
    fake_site.managers["hm-h1"] = FakeManager(child("fake-1", started=1.0, pid=1))
    return site_args(h1=HOST)


def ended(words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


# status


def test_status_tells_of_router_registry_and_hosts(one_host, fake_site, capsys):
    fake_site.agents = {
        "observatory.fake-1": {"expired": False, "op_codes": {"acq": 3}, "agent_class": "FakeDataAgent"},
        "observatory.fake-u": {"expired": False, "op_codes": {}, "agent_class": "FakeDataAgent"},
    }
    assert main(["status", *one_host]) == 1  # the websocket of this router is a closed port
    shown = capsys.readouterr().out
    assert "FAIL  no router at ws://127.0.0.1:9/ws" in shown
    assert "registry hears 2 agents" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["fake-1", "FakeDataAgent", "up", "up", "acq", "running"] in lines
    assert ["fake-u", "FakeDataAgent[unman]", "up", "?", "idle"] in lines


def test_an_agent_that_fell_silent_is_named_unless_it_is_down_on_purpose(one_host, fake_site, capsys):
    expired = {"expired": True, "op_codes": {}, "agent_class": "FakeDataAgent"}
    fake_site.agents = {"observatory.fake-1": expired, "observatory.fake-2": expired}
    fake_site.managers["hm-h1"].children["fake-2"] = child("fake-2", "down", "down")
    main(["status", *one_host])
    assert "registry hears 0 agents; silent: fake-1\n" in capsys.readouterr().out


def test_status_as_json(one_host, capsys):
    assert main(["status", "--json", *one_host]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["router"]["ok"] is False
    assert told["registry"]["ok"] is False
    assert told["hosts"][0]["instances"][1]["state"] == "up"


def test_status_without_any_router_still_shows_the_site(site_args, capsys):
    assert main(["status", *site_args("http://127.0.0.1:9/call", h1=HOST)]) == 1
    shown = capsys.readouterr().out
    assert shown.count("no router at ws://") == 1
    assert "fake-1" in shown


# restart


def test_restart_is_asked_of_the_manager_and_waited_for(one_host, fake_site, capsys):
    assert main(["restart", "fake-1", "--wait", *one_host]) == 0
    assert fake_site.managers["hm-h1"].orders == [("restart", {"instances": ["fake-1"]})]
    assert "fake-1 is up again" in capsys.readouterr().out


def test_a_manager_of_the_published_version_cannot_restart(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].tasks = ("update", "die")
    assert main(["restart", "fake-1", *one_host]) == 1
    assert "`ocsbow down` and `up`" in capsys.readouterr().err


def test_restart_of_an_unknown_instance_is_code_2(one_host, capsys):
    assert ended(["restart", "fake1", *one_host]) == 2
    assert "did you mean 'fake-1'?" in capsys.readouterr().err


# logs


def test_the_last_lines_are_printed_without_what_a_terminal_would_obey(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].log = lambda _params: {"lines": ["one", "\x1b[2Jtwo\x07"], "position": 2}
    assert main(["logs", "fake-1", "-n", "20", *one_host]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert fake_site.managers["hm-h1"].orders == [("logs", {"instance_id": "fake-1", "lines": 20})]


def test_only_the_manager_of_the_instance_is_asked(one_host, fake_site, site_args):
    args = site_args(h1=HOST, h2={"hm-h2": "HostManager"})
    assert main(["logs", "fake-1", *args]) == 0
    assert all("hm-h2" not in request["procedure"] for request in fake_site.bridge.requests)


def test_of_a_manager_itself_its_messages_are_printed(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].messages = [[0.0, "launched fake-1"]]
    assert main(["logs", "hm-h1", *one_host]) == 0
    assert capsys.readouterr().out == "1970-01-01 00:00:00 launched fake-1\n"


def test_an_instance_that_is_not_managed_has_no_lines_to_be_had(one_host, capsys):
    assert main(["logs", "fake-u", *one_host]) == 1
    assert "not managed" in capsys.readouterr().err


def test_the_manager_that_is_away_is_named(site_args, fake_site, capsys):
    assert main(["logs", "fake-1", *site_args(h1=HOST)]) == 1
    assert "hm-h1 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "many", "100000"])
def test_a_number_of_lines_that_cannot_be(count, one_host):
    assert ended(["logs", "fake-1", "-n", count, *one_host]) == 2


# following

AWAY = remote_error("wamp.error.no_such_procedure", [], {}, procedure="p", url="u")


class Script:
    """A source that gives what the test has written down, and then ends the following with Ctrl-C."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.asked = []

    def __call__(self, lines, position):
        self.asked.append(position)
        if not self.steps:
            raise KeyboardInterrupt
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return dict(zip(("lines", "position", "run"), step, strict=False))


def followed(script, first):
    found = []
    lines = follow(script, {"lines": first, "position": len(first)}, 0, sleep=lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        found.extend(iter(lambda: found.append(next(lines)), object()))
    return [line for line in found if line is not None]


def test_following_goes_on_from_the_position():
    script = Script((["c"], 3), ([], 3), (["d"], 4))
    assert followed(script, ["a", "b"]) == ["a", "b", "c", "d"]
    assert script.asked == [2, 3, 3, 4]


def test_following_survives_a_manager_that_counts_anew():
    script = Script((["c"], 3), AWAY, AWAY, (["c"], 3, 2.0), (["b", "c", "d"], 3, 2.0), (["e"], 4, 2.0))
    assert followed(script, ["a", "b"]) == ["a", "b", "c", "d", "e"]
    assert script.asked == [2, 3, 3, 3, None, 3, 4]


def test_following_waits_until_a_new_manager_knows_what_was_printed():
    script = Script(([], 0, 2.0), ([], 0, 2.0), ([], 0, 2.0), (["a", "b", "c"], 3, 2.0), (["d"], 4, 2.0))
    assert followed(script, ["a", "b"]) == ["a", "b", "c", "d"]


def test_following_what_has_no_positions_finds_what_is_new_by_its_text():
    script = Script((["a", "b"], None), (["a", "b", "c"], None))
    assert followed(script, ["a", "b"]) == ["a", "b", "c"]


def test_an_absence_is_told_once(capsys):
    followed(Script(AWAY, AWAY, ([], 0)), [])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_following_ends_with_an_error_that_will_not_pass():
    refused = own_error("ocs.error.refused", "no right to do that")
    with pytest.raises(ControlClientError, match="no right"):
        list(follow(Script(refused), {"lines": [], "position": 0}, 0, sleep=lambda _: None))


@pytest.mark.parametrize(
    ("seen", "found", "new"),
    [
        ("", "ab", "ab"),
        ("ab", "", ""),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("xab", "abc", "c"),
        ("ab", "cd", "cd"),
        ("aa", "aaa", ""),
        ("ab", "xxabyy", "yy"),
    ],
)
def test_what_is_new_is_what_follows_the_best_overlap(seen, found, new):
    assert lines_after(list(seen), list(found)) == list(new)
