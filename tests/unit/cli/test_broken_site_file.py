"""While the site file is broken, what runs can still be asked and told: by the file as it was last good."""

import json
from pathlib import Path

import pytest

from ocs.cli import ocsbow
from ocs.cli.main import main
from ocs.scf.last_good import keep_copy
from tests.harness.fake_managers import FakeManager, child


@pytest.fixture
def broken(site_args, fake_site, monkeypatch, tmp_path):
    """Arguments of a site whose file was good, and is broken now."""
    monkeypatch.setenv("OCS_STATE_DIR", str(tmp_path / "state"))
    fake_site.managers["hm-1"] = FakeManager(child("fake-1"))
    args = site_args(h1={"hm-1": "HostManager", "fake-1": "FakeDataAgent"})
    keep_copy(args[1])
    Path(args[1]).write_text("hub: [")
    return args


def test_the_state_is_shown_and_the_mistake_told(broken, capsys):
    main(["status", *broken])
    printed = capsys.readouterr()
    assert "fake-1" in printed.out
    assert "site.yaml:2:1: " in printed.err
    assert "going by the file as it was last good" in printed.err


@pytest.mark.parametrize("program", [main, ocsbow.main])
def test_the_mistake_is_in_the_json_and_in_the_exit_code(program, broken, capsys):
    assert program(["status", "--json", *broken]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["site_file"] == broken[1]
    assert "site.yaml:2:1: " in told["site_file_mistake"]


def test_no_mistake_once_it_is_mended(broken, capsys, site_args):
    args = site_args(h1={"hm-1": "HostManager", "fake-1": "FakeDataAgent"})
    assert ocsbow.main(["status", "--json", *args]) == 0
    assert json.loads(capsys.readouterr().out)["site_file_mistake"] is None


def test_orders_are_given(broken, fake_site):
    assert ocsbow.main(["down", "fake-1", *broken]) == 0
    assert fake_site.managers["hm-1"].children["fake-1"]["target_state"] == "down"


def test_a_file_that_never_was_good_is_an_error(broken, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("OCS_STATE_DIR", str(tmp_path / "elsewhere"))
    assert main(["status", *broken]) == 1
    assert "site.yaml:2:1: " in capsys.readouterr().err
