"""ocsbow: what it shows, asks and answers, without a router."""

import json

import pytest

from ocs.ocsbow import main
from tests.harness.fake_managers import FakeManager, child

HOST = {"hm-h1": "HostManager", "fake-1": "FakeDataAgent", "fake-2": "FakeDataAgent"}


@pytest.fixture
def one_host(fake_site, site_args):
    """A host whose two instances are up, and the arguments of its site."""
    fake_site.managers["hm-h1"] = FakeManager(child("fake-1"), child("fake-2"))
    return site_args(h1=HOST)


def ended(words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


# status


def test_a_host_whose_instances_are_as_they_should_be(one_host, capsys):
    assert main(["status", *one_host]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Host:", "h1"] in lines
    assert ["hm-h1", "HostManager", "up", "n/a"] in lines
    assert ["fake-1", "FakeDataAgent", "up", "up"] in lines


def test_an_instance_that_is_not_where_it_should_be_is_code_1(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].children["fake-2"] = child("fake-2", "wait_start")
    assert main(["status", *one_host]) == 1
    assert ["fake-2", "FakeDataAgent", "wait_start", "up"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]


def test_a_site_option_may_stand_before_the_command(one_host):
    assert main([*one_host, "status"]) == 0


def test_one_host_of_several_is_shown_alone(one_host, fake_site, site_args, capsys):
    fake_site.managers["hm-h2"] = FakeManager(child("fake-3"))
    args = site_args(h1=HOST, h2={"hm-h2": "HostManager", "fake-3": "FakeDataAgent"})
    assert main(["status", "--host", "h2", *args]) == 0
    shown = capsys.readouterr().out
    assert "fake-3" in shown
    assert "fake-1" not in shown


def test_an_unknown_host_is_a_mistake_in_the_words(one_host, capsys):
    assert ended(["status", "--host", "h9", *one_host]) == 2
    assert "there are: h1" in capsys.readouterr().err


def test_details_are_pid_load_and_last_end(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].children["fake-1"] = child(
        "fake-1", pid=4711, uptime_s=7200, cpu_percent=1.25, memory_bytes=50 << 20, restarts=3,
        exits=[{"time": 0, "code": 2, "signal": None, "text": "", "lines": []}],
    )  # fmt: skip
    main(["status", "--details", *one_host])
    line = next(line for line in capsys.readouterr().out.splitlines() if "fake-1" in line)
    for text in ("4711", "2.0 h", "1.2 %", "50 MiB", " 3 ", "code 2"):
        assert text in line


def test_json_has_all_that_managers_say(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].children["fake-1"]["novelty"] = 1
    assert main(["status", "--json", *one_host]) == 0
    (host,) = json.loads(capsys.readouterr().out)["hosts"]
    assert (host["host"], host["ok"]) == ("h1", True)
    assert host["managers"][0]["condition"] == "running"
    assert next(one for one in host["instances"] if one["instance_id"] == "fake-1")["novelty"] == 1


def test_no_router_is_one_line_with_a_remedy(site_args, capsys):
    assert main(["status", *site_args("http://127.0.0.1:9/call", h1=HOST)]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "start the router" in error


def test_a_manager_that_is_away_is_told_beside_one_that_is_well(one_host, site_args, capsys):
    assert main(["status", *site_args(h1=HOST, h2={"hm-h2": "HostManager", "fake-3": "FakeDataAgent"})]) == 1
    shown = capsys.readouterr().out
    assert "hm-h2 does not answer" in shown
    assert ["fake-3", "FakeDataAgent", "?", "?"] in [line.split() for line in shown.splitlines()]
    assert ["fake-1", "FakeDataAgent", "up", "up"] in [line.split() for line in shown.splitlines()]


def test_managers_that_hang_are_waited_for_at_the_same_time(fake_site, site_args, capsys):
    names = [f"h{number}" for number in range(8)]
    fake_site.managers = dict.fromkeys((f"hm-{name}" for name in names), None)
    hosts = {name: {f"hm-{name}": "HostManager"} for name in names}
    assert main(["status", "--timeout", "3", "--json", *site_args(**hosts)]) == 1
    found = [host["managers"][0]["condition"] for host in json.loads(capsys.readouterr().out)["hosts"]]
    assert found == ["silent"] * 8
    assert fake_site.bridge.connections >= 8


def test_reload_config_is_asked_of_every_manager(one_host, fake_site):
    assert main(["status", "--reload-config", *one_host]) == 0
    assert fake_site.managers["hm-h1"].orders == [("update", {"reload_config": True})]


def test_a_reload_that_fails_is_told(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].refusal = "site.yaml:3: the key 'hosts' is missing"
    assert main(["status", "--reload-config", *one_host]) == 1
    assert "site.yaml:3" in capsys.readouterr().err


def test_a_manager_that_only_the_registry_knows_is_shown(one_host, fake_site, capsys):
    fake_site.managers["hm-far"] = FakeManager(child("fake-9"))
    fake_site.agents = {"observatory.hm-far": {"expired": False, "op_codes": {}, "agent_class": "HostManager"}}
    assert main(["status", *one_host]) == 0
    shown = capsys.readouterr().out
    assert "Host: far" in shown
    assert "hm-far is registered, but not in this site file" in shown


# up, down


@pytest.mark.parametrize("words", [["up"], ["down", "--all", "fake-1"], ["status", "--timeout", "-1"], [], ["fly"]])
def test_a_mistake_in_the_words_is_one_line_and_code_2(words, one_host, capsys):
    assert ended([*one_host, *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("target", ["up", "down"])
def test_instances_are_asked_of_their_manager(target, one_host, fake_site):
    assert main([target, "fake-1", "fake-2", *one_host]) == 0
    assert fake_site.managers["hm-h1"].orders == [("update", {"requests": [["fake-1", target], ["fake-2", target]]})]


def test_the_name_of_a_manager_means_all_that_it_has(one_host, fake_site):
    assert main(["down", "hm-h1", *one_host]) == 0
    assert fake_site.managers["hm-h1"].orders == [("update", {"requests": [["all", "down"]]})]


def test_all_means_all_hosts_and_one_that_is_away_is_code_1(one_host, fake_site, site_args, capsys):
    assert main(["down", "--all", *site_args(h1=HOST, h2={"hm-h2": "HostManager"})]) == 1
    assert fake_site.managers["hm-h1"].orders == [("update", {"requests": [["all", "down"]]})]
    assert "hm-h2 does not answer" in capsys.readouterr().err


def test_a_dry_run_asks_nothing(one_host, fake_site, capsys):
    assert main(["down", "--all", "--dry-run", *one_host]) == 0
    assert fake_site.managers["hm-h1"].orders == []
    assert "would ask hm-h1: down all instances" in capsys.readouterr().out


def test_an_unknown_instance_is_refused_with_the_nearest_name(one_host, fake_site, capsys):
    assert ended(["up", "fake-11", *one_host]) == 2
    assert "did you mean 'fake-1'?" in capsys.readouterr().err
    assert fake_site.managers["hm-h1"].orders == []


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ({"hm-h2": "HostManager", "fake-3": "FakeDataAgent ignore"}, "manage: ignore"),
        ({"fake-3": "FakeDataAgent"}, "no HostManager for h2"),
    ],
)
def test_an_instance_that_nobody_manages_is_refused(host, reason, one_host, site_args, capsys):
    assert ended(["up", "fake-3", *site_args(h1=HOST, h2=host)]) == 2
    assert reason in capsys.readouterr().err


def test_what_a_manager_refuses_is_told_with_its_reason(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].refusal = "You have no right to do that."
    assert main(["up", "fake-1", *one_host]) == 1
    assert "no right" in capsys.readouterr().err


def test_a_manager_whose_process_is_stopped_is_not_asked(one_host, fake_site, capsys):
    fake_site.managers["hm-h1"].process = "done"
    assert main(["up", "--all", *one_host]) == 1
    assert "manager process of hm-h1 is not running" in capsys.readouterr().err
    assert fake_site.managers["hm-h1"].orders == []


def test_waiting_ends_when_it_has_come_true(one_host, capsys):
    assert main(["down", "fake-1", "--wait", *one_host]) == 0
    assert "fake-1 is down" in capsys.readouterr().out


def test_waiting_for_what_does_not_come_true_names_it(one_host, fake_site, capsys):
    class Lame(dict):
        def update(self, **changes):
            super().update(changes, next_action="start_at", trouble="no such device")

    fake_site.managers["hm-h1"].children["fake-1"] = Lame(child("fake-1"))
    assert main(["up", "fake-1", "--wait", "0.1", *one_host]) == 1
    assert "fake-1: not within 0.1 s (start_at: no such device)" in capsys.readouterr().err


def test_json_of_an_order_tells_what_was_taken(one_host, capsys):
    assert main(["down", "fake-1", "--wait", "--json", *one_host]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["orders"] == [
        {"manager": "hm-h1", "action": "down", "instances": ["fake-1"], "taken": True, "message": ""}
    ]
    assert told["not_reached"] == {}


# config


def test_the_router_s_settings_tell_who_may_connect(site_args, capsys, monkeypatch):
    assert main(["config", "crossbar", "--json", *site_args(here={})]) == 0
    assert "everybody" in json.loads(capsys.readouterr().out)["who_may_connect"]
    monkeypatch.setenv("OCS_KEYS", "/etc/ocs/keys")
    assert main(["config", "crossbar", "--json", *site_args(here={})]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["keys"], told["who_may_connect"]) == ("/etc/ocs/keys", "who has one of the keys")


@pytest.mark.parametrize("topic", ["summary", "plugins", "crossbar"])
def test_what_the_site_file_says_needs_no_router(topic, site_args, capsys):
    args = site_args("http://127.0.0.1:9/call", h1=HOST)
    assert main(["config", topic, *args]) == 0
    text = capsys.readouterr().out
    assert {"summary": "fake-1", "plugins": "FakeDataAgent", "crossbar": "127.0.0.1:9"}[topic] in text
    assert main(["config", topic, "--json", *args]) == 0
    assert json.loads(capsys.readouterr().out)


def test_a_missing_site_file_is_one_line(tmp_path, capsys):
    assert main(["status", "--site-file", str(tmp_path / "none.yaml")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("command", [[], ["status"], ["up"], ["down"], ["config"]])
def test_every_command_has_help(command, capsys):
    assert ended([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: ocsbow")
    assert max(map(len, shown.splitlines())) < 110
