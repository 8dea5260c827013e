"""`ocs-local-support`: the router of a host, from its site file."""

import json

import pytest

from ocs.cli import local_support
from ocs.router.ports import free_port
from ocs.router.process import running_pid, stop_tree


@pytest.fixture
def local_site(make_site, tmp_path):
    """A site whose host controls a router, in tmp_path/crossbar, on a free port; stopped at the end."""
    from types import SimpleNamespace

    port = free_port()
    urls = {"ws_url": f"ws://127.0.0.1:{port}/ws", "http_url": f"http://127.0.0.1:{port}/call", "realm": "test_realm"}
    site = make_site(SimpleNamespace(**urls))
    site.host["crossbar"] = {"config-dir": str(tmp_path / "crossbar")}
    site.write()
    yield site
    pid = running_pid(tmp_path / "crossbar")
    if pid is not None:
        stop_tree(pid)


def run(site, *args):
    return local_support.main([*args, *site.args])


def test_generated_started_looked_at_and_stopped(local_site, tmp_path, capsys):
    assert run(local_site, "generate_crossbar_config") == 0
    assert run(local_site, "start", "crossbar") == 0
    pid = running_pid(tmp_path / "crossbar")
    capsys.readouterr()

    assert run(local_site, "status", "crossbar", "--json") == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert status["state"] == "running"
    assert f"pid {pid}" in status["detail"]

    assert run(local_site, "start", "crossbar") == 0
    assert running_pid(tmp_path / "crossbar") == pid

    assert run(local_site, "stop") == 0
    assert running_pid(tmp_path / "crossbar") is None
    assert run(local_site, "status", "crossbar") == 1


def test_start_without_a_configuration_says_how_to_make_one(local_site, capsys):
    assert run(local_site, "start") == 1
    assert "generate_crossbar_config" in capsys.readouterr().err


def test_a_file_that_differs_is_shown_and_kept_unless_forced(local_site, tmp_path, capsys):
    path = tmp_path / "crossbar" / "config.json"
    path.parent.mkdir()
    path.write_text('{"mine": 1}\n')
    assert run(local_site, "generate_crossbar_config") == 1
    shown = capsys.readouterr()
    assert '-{"mine": 1}' in shown.out
    assert "--force" in shown.err
    assert path.read_text() == '{"mine": 1}\n'
    assert run(local_site, "generate_crossbar_config", "--force") == 0
    assert "workers" in json.loads(path.read_text())


def test_a_second_time_there_is_nothing_to_write(local_site, capsys):
    run(local_site, "generate_crossbar_config")
    assert run(local_site, "generate_crossbar_config") == 0
    assert "up to date" in capsys.readouterr().out


def test_a_configuration_for_another_port_is_not_started(local_site, capsys):
    run(local_site, "generate_crossbar_config", "--port", "9999")
    assert run(local_site, "start") == 1
    assert "9999" in capsys.readouterr().err


def test_a_host_without_a_router_of_its_own(site, capsys):
    assert run(site, "status") == 1
    assert "crossbar: {config-dir" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["agent", "process"])
def test_targets_of_later_are_refused_plainly(local_site, target, capsys):
    assert run(local_site, "start", target) == 1
    assert "not handled by this version" in capsys.readouterr().err


def test_a_missing_site_file_is_one_line(tmp_path, capsys):
    assert local_support.main(["status", "--site-file", str(tmp_path / "none.yaml")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
