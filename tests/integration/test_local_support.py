"""`ocs-local-support`: the router and the HostManager of a host, from its site file."""

import json

import pytest

from ocs.cli import local_support, main
from ocs.router.ports import free_port
from ocs.router.process import running_pid, stop_tree
from tests.harness.managing import end_all, processes_of
from tests.harness.waiting import wait_for


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


def test_a_site_without_keys_is_told_to_be_open(local_site, capsys):
    run(local_site, "generate_crossbar_config")
    assert "who reaches ws://127.0.0.1" in capsys.readouterr().err


@pytest.fixture
def closed_site(local_site, tmp_path, capsys):
    """The same with keys."""
    local_site.hub.update(keys="keys", **{key: local_site.hub[key].replace("://", "s://") for key in URLS})
    local_site.write()
    assert keys_program("init", *local_site.args) == 0
    capsys.readouterr()
    return local_site


URLS = ("wamp_server", "wamp_http")


def keys_program(*args):
    return main.main(["keys", *args])


def test_at_a_site_with_keys_the_router_is_a_closed_one(closed_site, capsys):
    assert run(closed_site, "generate_crossbar_config") == 0
    assert run(closed_site, "start", "crossbar") == 0
    assert capsys.readouterr().err == ""
    assert run(closed_site, "status", "crossbar", "--json") == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert (status["state"], "admits those with a key alone" in status["detail"]) == ("running", True)
    assert run(closed_site, "stop", "crossbar") == 0


def test_an_open_configuration_that_was_left_there_is_not_started_once_there_are_keys(closed_site, capsys):
    keys = closed_site.hub.pop("keys")
    closed, plain = ({key: closed_site.hub[key].replace(*swap) for key in URLS} for swap in (("", ""), ("s://", "://")))
    closed_site.hub.update(plain)
    closed_site.write()
    assert run(closed_site, "generate_crossbar_config") == 0
    closed_site.hub.update(closed, keys=keys)
    closed_site.write()
    assert run(closed_site, "start", "crossbar") == 1
    assert "is that of an open router" in capsys.readouterr().err


def test_a_router_that_admits_everybody_is_not_as_it_should_be_at_a_site_with_keys(site, capsys):
    site.hub["keys"] = "keys"
    site.write()
    assert run(site, "status", "crossbar", "--json") == 1
    (status,) = json.loads(capsys.readouterr().out)
    assert (status["state"], "to everybody" in status["detail"]) == ("open", True)


def test_a_host_without_a_router_of_its_own_uses_another(site, capsys):
    assert run(site, "status") == 0
    assert run(site, "start") == 1
    assert "crossbar: {config-dir" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["start", "agent"], ["stop", "process"], ["status", "agent"]])
def test_a_host_without_a_manager(local_site, words, capsys):
    assert run(local_site, *words) == 1
    shown = capsys.readouterr()
    assert "HostManager" in shown.out + shown.err


@pytest.mark.parametrize("words", [["start"], ["stop", "agent"], ["start", "process"]])
def test_only_what_is_a_program_runs_in_the_foreground(local_site, words):
    with pytest.raises(SystemExit) as ended:
        run(local_site, *words, "--foreground")
    assert ended.value.code == 2


def test_only_an_agent_can_leave_others_running(local_site):
    with pytest.raises(SystemExit) as ended:
        run(local_site, "stop", "--leave-running")
    assert ended.value.code == 2


def test_a_missing_site_file_is_one_line(tmp_path, capsys):
    assert local_support.main(["status", "--site-file", str(tmp_path / "none.yaml")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


# the HostManager


@pytest.fixture
def managed_site(site, monkeypatch):
    """A host with a manager and an agent, on the run's router; both ended with the test."""
    site.add_instance("HostManager", "hm-1")
    site.add_instance("FakeDataAgent", "fake-1")
    monkeypatch.setenv("OCS_STATE_DIR", str(site.state_dir))
    monkeypatch.chdir(site.directory)
    yield site
    end_all(site.directory)


def state_of(capsys, site, target):
    capsys.readouterr()
    code = run(site, "status", target, "--json")
    (status,) = json.loads(capsys.readouterr().out)
    return status["state"], code


@pytest.mark.slow
def test_the_manager_is_started_looked_at_and_stopped(managed_site, capsys):
    assert state_of(capsys, managed_site, "agent") == ("stopped", 1)
    assert run(managed_site, "start") == 0
    assert state_of(capsys, managed_site, "agent") == ("running", 0)
    assert state_of(capsys, managed_site, "process") == ("running", 0)
    assert run(managed_site, "start", "agent") == 0
    assert "running already" in capsys.readouterr().out
    wait_for(lambda: processes_of("fake-1", managed_site.directory))

    assert run(managed_site, "stop", "process") == 0
    assert processes_of("fake-1", managed_site.directory) == []
    assert state_of(capsys, managed_site, "process") == ("stopped", 1)
    assert run(managed_site, "start", "process") == 0
    assert state_of(capsys, managed_site, "process") == ("running", 0)

    assert run(managed_site, "stop") == 0
    assert processes_of("hm-1", managed_site.directory) == []
    assert processes_of("fake-1", managed_site.directory) == []


@pytest.mark.slow
def test_without_a_router_a_manager_is_found_by_its_lock_and_ended_by_a_signal(managed_site, capsys):
    assert run(managed_site, "start") == 0
    managed_site.hub["wamp_http"] = f"http://127.0.0.1:{free_port()}/call"
    managed_site.write()
    assert state_of(capsys, managed_site, "agent") == ("unknown", 1)
    assert run(managed_site, "stop", "agent") == 0
    assert processes_of("hm-1", managed_site.directory) == []


@pytest.mark.slow
def test_agents_run_on_until_the_next_manager_takes_them_over(managed_site, capsys):
    """As for an upgrade of the HostManager."""
    assert run(managed_site, "start") == 0
    (agent,) = wait_for(lambda: processes_of("fake-1", managed_site.directory))
    assert run(managed_site, "stop", "agent", "--leave-running") == 0
    assert processes_of("hm-1", managed_site.directory) == []
    assert processes_of("fake-1", managed_site.directory) == [agent]
    assert run(managed_site, "start") == 0
    assert processes_of("fake-1", managed_site.directory) == [agent]
    assert run(managed_site, "stop") == 0
    assert processes_of("fake-1", managed_site.directory) == []


@pytest.mark.slow
def test_a_manager_that_cannot_start_says_why_in_one_line(managed_site, capsys):
    managed_site.add_instance("HostManager", "hm-1", ["--no-such-option"])
    assert run(managed_site, "start", "agent") == 1
    error = capsys.readouterr().err
    assert "--no-such-option" in error
    assert len(error.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.interop
def test_the_published_manager_is_looked_at_and_stopped(managed_site, run_agent, published_python, capsys):
    run_agent("hm-1", python=published_python, timeout=40)
    wait_for(lambda: state_of(capsys, managed_site, "process") == ("running", 0), 40)
    assert run(managed_site, "stop", "process") == 0
    assert run(managed_site, "start", "process") == 0
    assert run(managed_site, "stop", "agent", "--leave-running") == 1
    assert "cannot leave its agents running" in capsys.readouterr().err
    assert run(managed_site, "stop", "agent") == 0
    assert state_of(capsys, managed_site, "agent") == ("stopped", 1)
