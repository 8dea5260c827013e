"""`ocs doctor` on real sites."""

import json

import pytest

from ocs.cli import doctor


def findings(capsys, *args):
    code = doctor.main(["--json", *args])
    return code, {entry["subject"]: entry for entry in json.loads(capsys.readouterr().out)}


def test_a_site_whose_router_answers(site, capsys):
    site.add_instance("FakeDataAgent", "fake-1")
    code, found = findings(capsys, *site.args)
    assert code == 0
    assert found["router"]["level"] == found["HTTP bridge"]["level"] == "ok"
    assert found["instances"]["level"] == "ok"


def test_a_wrong_realm_and_a_wrong_class_are_to_be_repaired(site, capsys):
    site.hub["wamp_realm"] = "elsewhere"
    site.add_instance("NoSuchAgent", "lost")
    code, found = findings(capsys, *site.args)
    assert code == 1
    assert "elsewhere" in found["router"]["message"]
    assert "lost" in found["instances"]["message"]


def test_a_wrong_path_of_the_bridge(site, capsys):
    site.hub["wamp_http"] = site.hub["wamp_http"].replace("/call", "/cal")
    site.write()
    code, found = findings(capsys, *site.args)
    assert code == 1
    assert "404" in found["HTTP bridge"]["message"]


def test_a_broken_site_file_is_one_finding_among_others(tmp_path, capsys):
    broken = tmp_path / "site.yaml"
    broken.write_text("hub: [")
    code, found = findings(capsys, "--site-file", str(broken))
    assert code == 1
    assert str(broken) in found["site file"]["message"]
    assert found["python"]["level"] == "ok"


def test_a_site_file_that_is_not_there(tmp_path, capsys):
    code, found = findings(capsys, "--site-file", str(tmp_path / "none.yaml"))
    assert (code, found["site file"]["level"]) == (1, "fail")


def test_without_a_site_the_demonstration_is_looked_at(monkeypatch, capsys):
    monkeypatch.delenv("OCS_CONFIG_DIR", raising=False)
    _, found = findings(capsys)
    assert "demonstration" in found["site file"]["message"]
    assert found["instances"]["level"] == "ok"


def test_for_people_there_is_a_line_for_each_and_a_last_word(site, capsys):
    assert doctor.main(site.args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["ok", "python:"]
    assert lines[-1].startswith("nothing to repair")


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit) as ended:
        doctor.main(["--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out
