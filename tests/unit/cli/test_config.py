"""`ocs config`: what it prints, its exit codes, and what HostManagers tell it."""

import json
from pathlib import Path

import pytest
import yaml

from ocs.cli.main import main
from ocs.scf.last_good import keep_copy
from tests.harness.fake_managers import FakeManager, child


@pytest.fixture
def site_file(site_args):
    """Return a function that writes a site file, as of `site_args`, and returns its path."""
    return lambda **hosts: site_args(**hosts)[1]


@pytest.fixture
def config(capsys):
    """Return a function that runs `ocs config`, and returns the exit code and what was printed."""

    def config(*words):
        code = main(["config", *words])
        return code, capsys.readouterr().out

    return config


@pytest.fixture
def reload_of(config):
    """Return a function that gives what a reload would change, as lines, and the notes."""

    def reload_of(*words):
        _, out = config("check", *words, "--json")
        report = json.loads(out)
        return [f"{one['host']} {one['instance_id']} {one['effect']}" for one in report["reload"]], report[
            "reload_notes"
        ]

    return reload_of


def edit(path, host="localhost", **keys):
    """Change keys of all instances but the HostManager."""
    site = yaml.safe_load(Path(path).read_text())
    for entry in site["hosts"][host]["agent-instances"][1:]:
        entry.update({key.replace("_", "-"): value for key, value in keys.items()})
    Path(path).write_text(yaml.safe_dump(site))


HOSTS = {"localhost": {"hm-1": "HostManager", "fake-1": "FakeDataAgent"}}


def test_a_good_site_is_a_line_and_exit_code_0(config, site_file):
    code, out = config("check", site_file(**HOSTS), "--offline")
    assert code == 0
    assert out.endswith("site.yaml: nothing wrong with 2 instances on 1 host\n")


def test_errors_are_lines_with_their_place_and_exit_code_1(config, site_file):
    path = site_file(**HOSTS)
    edit(path, manage="perhaps")
    code, out = config("check", path)
    assert code == 1
    assert "error: manage: 'perhaps' is no manage word" in out
    assert "1 error\n" in out
    assert "A reload would be refused" in out


def test_a_warning_counts_where_it_is_asked_to(config, site_file):
    path = site_file(**HOSTS)
    edit(path, start_levl=1)
    assert config("check", path, "--offline")[0] == 0
    code, out = config("check", path, "--offline", "--strict")
    assert code == 1
    assert "did you mean 'start-level'?" in out


def test_json_has_everything(config, site_file):
    path = site_file(**HOSTS)
    edit(path, start_level="x")
    code, out = config("check", path, "--json")
    report = json.loads(out)
    assert (code, report["ok"], report["refused"], report["host"]) == (1, False, True, "localhost")
    [problem] = report["problems"]
    assert (problem["level"], problem["file"]) == ("error", path)
    assert problem["line"] > 1


def test_the_site_in_force_is_checked_where_no_file_is_given(config, site_file, monkeypatch, tmp_path):
    path = site_file(**HOSTS)
    monkeypatch.setenv("OCS_CONFIG_DIR", str(tmp_path))
    assert config("check", "--site", "site", "--offline")[0] == 0
    assert config("check", "--site-file", path, "--offline")[0] == 0
    assert main(["config", "check", "--site", "other"]) == 1


def test_without_any_site_it_says_what_to_give(monkeypatch, capsys):
    monkeypatch.delenv("OCS_CONFIG_DIR", raising=False)
    assert main(["config", "check"]) == 1
    assert "neither --site-file nor OCS_CONFIG_DIR" in capsys.readouterr().err


def test_colours_are_for_terminals(config, site_file):
    assert "\x1b" not in config("check", site_file(localhost={"a": "Nonsense"}), "--offline")[1]


def test_what_another_file_would_change(config, site_file, tmp_path):
    old = tmp_path / "old.yaml"
    old.write_text(Path(site_file(localhost={**HOSTS["localhost"], "gone": "FakeDataAgent"})).read_text())
    path = site_file(localhost={**HOSTS["localhost"], "new": "FakeDataAgent"})
    edit(path, arguments=["--mode", "acq"])
    code, out = config("check", path, "--against", str(old))
    assert code == 0
    assert f"A reload would change, on host localhost, compared with {old}:\n" in out
    assert out.endswith(
        "  ~ fake-1 needs a restart (arguments)\n  + new would be added\n  - gone would be ended and forgotten\n"
    )


def test_the_same_file_changes_nothing(config, site_file):
    path = site_file(**HOSTS)
    assert f"A reload would change nothing, compared with {path}." in config("check", path, "--against", path)[1]


def test_an_old_file_with_a_mistake_is_an_error(site_file, tmp_path, capsys):
    (tmp_path / "old.yaml").write_text("hub: [")
    assert main(["config", "check", site_file(**HOSTS), "--against", str(tmp_path / "old.yaml")]) == 1
    assert "old.yaml:2:1" in capsys.readouterr().err


def running(*children):
    return FakeManager(*(child(name, management="host", start_level=0, restart="always") for name in children))


def test_what_runs_is_asked_for(reload_of, site_file, fake_site):
    fake_site.managers["hm-1"] = running("fake-1", "gone")
    changes, notes = reload_of(site_file(**HOSTS))
    assert changes == ["localhost gone would be ended and forgotten"]
    assert notes == ["Whether arguments have changed is not known of localhost: --against OLD_FILE compares them too."]
    assert fake_site.managers["hm-1"].orders == []


def test_what_this_hosts_manager_read_last_tells_of_arguments(reload_of, site_file, fake_site, monkeypatch, tmp_path):
    monkeypatch.setenv("OCS_STATE_DIR", str(tmp_path / "state"))
    fake_site.managers["hm-1"] = running("fake-1")
    path = site_file(**HOSTS)
    keep_copy(path)
    edit(path, arguments=["--mode", "acq"])
    assert reload_of(path) == (["localhost fake-1 needs a restart (arguments)"], [])


def test_a_copy_that_is_not_what_runs_is_not_believed(reload_of, site_file, fake_site, monkeypatch, tmp_path):
    monkeypatch.setenv("OCS_STATE_DIR", str(tmp_path / "state"))
    path = site_file(**HOSTS)
    keep_copy(path)
    fake_site.managers["hm-1"] = running("fake-1", "gone")
    changes, notes = reload_of(path)
    assert changes == ["localhost gone would be ended and forgotten"]
    assert notes


def test_who_does_not_answer_is_a_line_and_the_others_count(reload_of, site_file, fake_site):
    fake_site.managers.update({"hm-1": running(), "hm-2": None})
    hosts = {"one": {"hm-1": "HostManager", "a": "FakeDataAgent"}, "two": {"hm-2": "HostManager"}}
    changes, notes = reload_of(site_file(**hosts, three={"hm-3": "HostManager"}), "--timeout", "0.5")
    assert changes == ["one a would be added"]
    assert [note for note in notes if note.startswith("What runs is not known: ")] == notes[:2]
    assert "hm-2" in notes[0]
    assert "hm-3" in notes[1]


def test_without_a_router_there_is_one_line_and_the_check_is_done(config, site_args):
    _, path = site_args("http://127.0.0.1:1/call", one={"hm-1": "HostManager"}, two={"hm-2": "HostManager"})
    code, out = config("check", path)
    assert code == 0
    assert out.count("What runs is not known: No router at http://127.0.0.1:1/call") == 1


def test_offline_nobody_is_asked(reload_of, site_file, fake_site):
    fake_site.managers["hm-1"] = running("gone")
    assert reload_of(site_file(**HOSTS), "--offline") == ([], [])


def test_show_has_the_site_as_programs_read_it(config, site_file):
    path = site_file(localhost={"hm-1": "HostManager", "fake-1": "FakeDataAgent docker"})
    edit(path, arguments=[["--mode", "acq"]], restart="manual")
    code, out = config("show", path)
    assert code == 0
    assert "Host: localhost" in out
    assert "docker/up" in out
    shown = json.loads(config("show", path, "--json", "--host", "localhost")[1])
    [_, fake] = shown["hosts"]["localhost"]["agent_instances"]
    assert (fake["manage"], fake["arguments"], fake["restart"]) == ("docker/up", ["--mode", "acq"], "manual")
    assert shown["hosts"]["localhost"]["wamp_realm"] == shown["hub"]["wamp_realm"] == "test_realm"


def test_show_of_an_unknown_host_names_those_there_are(site_file, capsys):
    assert main(["config", "show", site_file(**HOSTS), "--host", "far"]) == 1
    assert "has no host 'far'; it has: localhost" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["check", "--timeout", "never"]])
def test_a_wrong_command_line_is_one_line(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["config", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
