"""ocs-client-cli without a network: its words, its help, its one-line errors."""

import json

import pytest

from ocs.client_cli import main
from tests.harness.bridge import FakeBridge, result, session

NO_SITE = ["--site", "none", "--site-realm", "r", "--address-root", "observatory"]


@pytest.fixture
def registry():
    data = {"observatory.fake-1": {"expired": False, "op_codes": {"acq": 3}, "agent_class": "FakeDataAgent"}}
    with FakeBridge(lambda _: result([0, "", session("main", data=data)])) as bridge:
        yield bridge


def ended(words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


@pytest.mark.parametrize("command", [[], ["shell"], ["scan"], ["listen"]])
def test_every_command_has_help(command, capsys):
    assert ended([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: ocs-client-cli")
    assert max(map(len, shown.splitlines())) < 100


@pytest.mark.parametrize("words", [[], ["shell"], ["listen"], ["nonsense"], ["scan", "--duration", "x"]])
def test_a_mistake_in_the_words_is_one_line_and_code_2(words, capsys):
    assert ended([*NO_SITE, *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_missing_site_file_is_one_line_and_code_1(tmp_path, capsys):
    assert main(["--site-file", str(tmp_path / "none.yaml"), "scan"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("words", [["--use-registry"], ["--use-registry", "registry", "--details"]])
def test_the_registry_is_asked_over_http(registry, words, capsys):
    assert main([*NO_SITE, "--site-http", registry.url, "scan", *words]) == 0
    shown = capsys.readouterr().out
    assert "Agents by registry: 1" in shown
    assert "fake-1  FakeDataAgent  acq running" in shown
    assert ("acq                 : RUNNING" in shown) == ("--details" in words)
    assert registry.requests[0]["procedure"] == "observatory.registry.ops"


def test_site_options_may_follow_the_command(registry, capsys):
    assert main(["scan", *NO_SITE, "--site-http", registry.url, "--use-registry", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["operations"] == {"acq": "RUNNING"}


def test_a_registry_without_a_session_is_an_error(capsys):
    with FakeBridge(lambda _: result([0, "No session active.", {}])) as bridge:
        assert main([*NO_SITE, "--site-http", bridge.url, "scan", "--use-registry", "reg"]) == 1
    assert "reg has no list of agents: No session active." in capsys.readouterr().err


def test_a_shell_for_an_agent_that_is_away_is_an_error(capsys):
    with FakeBridge(lambda _: {"error": "wamp.error.no_such_procedure", "args": [], "kwargs": {}}) as bridge:
        assert main([*NO_SITE, "--site-http", bridge.url, "shell", "--simple", "fake-1"]) == 1
    error = capsys.readouterr().err
    assert "observatory.fake-1" in error
    assert len(error.splitlines()) == 1


def test_listening_for_no_time_is_refused(capsys):
    assert main([*NO_SITE, "scan", "--duration", "0"]) == 1
    assert "0 s" in capsys.readouterr().err
